// What a file of documents holds, as the embedder reads it: asked before anything is created.
import { upload, type ImportPreview, type Query } from "./api";

/** Of a larger file of text, the beginning is enough. */
const WHOLE_BYTES = 4 << 20;
const BEGINNING_BYTES = 1 << 20;
/** How files begin that can only be read as a whole: zip and workbooks, Parquet, Arrow, and all that is compressed. */
const WHOLE_MARKS = [
  "PK", "PAR1", "ARRO", "\u00d0\u00cf", "\u00ff\u00ff\u00ff\u00ff", "\u001f\u008b", "BZh", "\u00fd7zXZ", "\u0028\u00b5\u002f\u00fd",
];
const TAR_MARK_START = 257;

/** How a person wants a file to be read; what is empty is found by the embedder. */
export const UNCHOSEN = { idField: "", textField: "", furtherTextField: "", format: "", encoding: "", delimiter: "", hasHeader: "", sheet: "" };
export type Choices = typeof UNCHOSEN;

/** The choices as an import takes them. */
export function importQuery({ textField, furtherTextField, ...rest }: Choices): Query {
  return { ...rest, textFields: textField ? [textField, furtherTextField] : [] };
}

/** What an import would make of a file. Raises ApiError. */
export async function preview(file: File, choices: Choices, progress: (part: number) => void): Promise<ImportPreview> {
  const isPartial = file.size > WHOLE_BYTES && !(await isWhole(file));
  const part = isPartial ? new File([file.slice(0, BEGINNING_BYTES)], file.name) : file;
  return upload<ImportPreview>("documents:preview", part, { ...importQuery(choices), isPartial: isPartial || undefined }, progress);
}

async function isWhole(file: File): Promise<boolean> {
  const head = new TextDecoder("latin1").decode(await file.slice(0, TAR_MARK_START + 5).arrayBuffer());
  return WHOLE_MARKS.some((mark) => head.startsWith(mark)) || head.slice(TAR_MARK_START) === "ustar";
}

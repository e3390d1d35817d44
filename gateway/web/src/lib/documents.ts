// What a file of documents holds, as the embedder reads it: asked before anything is created.
import { upload, type ImportPreview } from "./api";

/** Of a larger file of text, the beginning is enough. */
const WHOLE_BYTES = 4 << 20;
const BEGINNING_BYTES = 1 << 20;
/** How files begin that can only be read as a whole: zip and workbooks, Parquet, Arrow. */
const WHOLE_MARKS = ["PK", "PAR1", "ARRO", "\u00d0\u00cf", "\u00ff\u00ff\u00ff\u00ff"];
const TAR_MARK_START = 257;

/** The fields that a person chose; those that are left out are found by the embedder. */
export interface Choices {
  idField?: string;
  textFields?: string;
  encoding?: string;
  delimiter?: string;
  sheet?: string;
}

/** What an import would make of a file. Raises ApiError. */
export async function preview(file: File, choices: Choices, progress: (part: number) => void): Promise<ImportPreview> {
  const isPartial = file.size > WHOLE_BYTES && !(await isWhole(file));
  const part = isPartial ? new File([file.slice(0, BEGINNING_BYTES)], file.name) : file;
  return upload<ImportPreview>("documents:preview", part, { ...choices, isPartial: isPartial || undefined }, progress);
}

async function isWhole(file: File): Promise<boolean> {
  const head = new TextDecoder("latin1").decode(await file.slice(0, TAR_MARK_START + 5).arrayBuffer());
  return WHOLE_MARKS.some((mark) => head.startsWith(mark)) || head.slice(TAR_MARK_START) === "ustar";
}

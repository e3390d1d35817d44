// What a file of documents holds, as the embedder reads it: asked before anything is created.
import { ApiError, upload, type ImportPreview, type Query, type Upload } from "./api";
import { imports as words } from "./messages/imports";

/** Of a larger file of text, the beginning is enough. */
const WHOLE_BYTES = 4 << 20;
const BEGINNING_BYTES = 1 << 20;
/** How files begin that can only be read as a whole: zip and workbooks, Parquet, Arrow, and all that is compressed. */
const WHOLE_MARKS = [
  "PK", "PAR1", "ARRO", "\u00d0\u00cf", "\u00ff\u00ff\u00ff\u00ff", "\u001f\u008b", "BZh", "\u00fd7zXZ", "\u0028\u00b5\u002f\u00fd",
];
const TAR_MARK_START = 257;

/** Choices of ids that are no column. */
export const NO_COLUMN = { text: "=ID_SOURCE_TEXT", row: "=ID_SOURCE_ROW" };
/** The choice of vectors that are in a file of their own. */
export const VECTOR_FILE = "=file";

/** How a person wants a file to be read; what is empty is found by the embedder. */
export interface Choices {
  /** A column, or one of NO_COLUMN. */
  id: string;
  textFields: string[];
  /** Columns; undefined for all others. */
  metadata: string[] | undefined;
  /** A column, or VECTOR_FILE; empty where a model makes the vectors. */
  vectorField: string;
  format: string;
  encoding: string;
  delimiter: string;
  hasHeader: string;
  sheet: string;
}
export const noChoices = (): Choices => ({
  id: "", textFields: [], metadata: undefined, vectorField: "", format: "", encoding: "", delimiter: "", hasHeader: "", sheet: "",
});

/** What a dataset is created with. Numbers are empty where they follow from the model. */
export interface DatasetChoices {
  name: string;
  description: string;
  model: string;
  givenName: string;
  queryModel: string;
  passages: boolean;
  maxTokens: number | null | undefined;
  overlap: number | null | undefined;
}
export const newDataset = (): DatasetChoices => ({
  name: "", description: "", model: "", givenName: "", queryModel: "", passages: false, maxTokens: undefined, overlap: undefined,
});

/** The choices as an import takes them. */
export function importQuery({ id, metadata, vectorField, ...rest }: Choices): Query {
  return {
    ...rest,
    ...(id.startsWith("=") ? { idSource: id.slice(1) } : { idField: id }),
    metadataFields: metadata ?? [],
    noMetadata: metadata?.length === 0 || undefined,
    vectorField: vectorField === VECTOR_FILE ? "" : vectorField,
  };
}

/** The choices as a dataset is created with them. `hasOwnVectors`: whether its vectors come with the documents. */
export function datasetBody(choices: DatasetChoices, hasOwnVectors: boolean): Record<string, unknown> {
  const { name: displayName, description, model, givenName, queryModel } = choices;
  if (hasOwnVectors) {
    const embeddingModel = givenName ? `given/${givenName}` : "given";
    return { displayName, description, embeddingModel, ...(queryModel ? { queryModel } : {}) };
  }
  const passages = choices.passages ? { passages: { maxTokens: choices.maxTokens ?? 0, overlapTokens: choices.overlap ?? 0 } } : {};
  return { displayName, description, embeddingModel: model, ...passages };
}

/** Whether a file is a NumPy array, as vectors are. */
export async function isArray(file: File): Promise<boolean> {
  const [first, ...rest] = new Uint8Array(await file.slice(0, 6).arrayBuffer());
  return first === 0x93 && String.fromCharCode(...rest) === "NUMPY";
}

/** Of files that the server keeps for a while after their preview: another one sends no byte of them. */
const fileTokens = new WeakMap<File, string>();

/** What an import would make of a file. Raises ApiError. */
export async function preview(
  file: File, choices: Choices, { progress, signal }: Required<Pick<Upload, "progress" | "signal">>,
): Promise<ImportPreview> {
  const path = "documents:preview", interrupted = words.previewInterrupted;
  const fileToken = fileTokens.get(file);
  if (fileToken) {
    try {
      const query = { ...importQuery(choices), fileToken };
      return await upload<ImportPreview>(path, new File([], file.name), { query, signal, interrupted });
    } catch (error) {
      if (!isOfToken(error)) throw error;
      fileTokens.delete(file);
    }
  }
  const isPartial = file.size > WHOLE_BYTES && !(await isWhole(file));
  const part = isPartial ? new File([file.slice(0, BEGINNING_BYTES)], file.name) : file;
  const query = { ...importQuery(choices), isPartial: isPartial || undefined, keepFile: !isPartial || undefined };
  const response = await upload<ImportPreview>(path, part, { query, progress, signal, interrupted });
  if (response.fileToken) fileTokens.set(file, response.fileToken);
  return response;
}

/** Whether the server keeps a file no longer. */
function isOfToken(error: unknown): boolean {
  return error instanceof ApiError && error.violations.some((violation) => /file_?token/i.test(violation.field));
}

async function isWhole(file: File): Promise<boolean> {
  const head = new TextDecoder("latin1").decode(await file.slice(0, TAR_MARK_START + 5).arrayBuffer());
  return WHOLE_MARKS.some((mark) => head.startsWith(mark)) || head.slice(TAR_MARK_START) === "ustar";
}

// A few words of a dataset's own documents, for examples.
import { get, type Doc } from "./api";
import { flowing } from "./format";

const PLAIN_KEY = /^[A-Za-z_]\w*$/;
const MOST_CHARACTERS = 60;

/** Embedded documents of a dataset, up to `number`. */
export async function someDocuments(dataset: string, number: number): Promise<Doc[]> {
  return (await get<{ documents: Doc[] }>(`${dataset}/documents`, { filter: "state = EMBEDDED", pageSize: number })).documents;
}

/** The first words of a text, in `most` characters. */
export function firstWords(text: string, most = MOST_CHARACTERS): string {
  const line = flowing(text).trim().split("\n")[0]!.trim();
  if (line.length <= most) return line;
  const end = line.lastIndexOf(" ", most);
  return line.slice(0, end > 0 ? end : most);
}

/** A search filter that a document passes, by a text of its metadata; empty where it has none. */
export function exampleFilter(document: Doc): string {
  const entry = Object.entries(document.metadata ?? {}).find(([key, value]) => PLAIN_KEY.test(key) && typeof value === "string" && value.length <= MOST_CHARACTERS);
  return entry ? `metadata.${entry[0]} = ${JSON.stringify(entry[1])}` : "";
}

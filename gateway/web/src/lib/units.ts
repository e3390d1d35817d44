// What the rows of a dataset are: passages where its texts are split, else documents.
import type { Dataset } from "./api";
import { app } from "./app.svelte";
import { num } from "./format";

export type Unit = "document" | "passage";

/** What runs, features and searches of a dataset count. `dataset`: its name. */
export function unitOf(dataset: string | undefined): Unit {
  return app.datasets.find(({ name }) => name === dataset)?.passages ? "passage" : "document";
}

/** How many rows a dataset has, each of which is embedded by itself. */
export function rowCount(dataset: Dataset): number {
  return num(dataset.passages ? dataset.passages.passageCount : dataset.documentCount);
}

// Examples of filters, for people who write one.
import type { Dataset } from "./api";

export type MetadataField = Dataset["metadataFields"][number];

const PLAIN_KEY = /^[\p{L}_][\p{L}\p{N}_-]*(\.[\p{L}\p{N}_-]+)*$/u;
const THIS_YEAR = new Date().getFullYear();
/** An operator and a value by the type of a field, without its `TYPE_`. */
const COMPARISONS: Record<string, string> = {
  STRING: ': "word"',
  INTEGER: ">= 10",
  NUMBER: "> 0.5",
  BOOLEAN: "= true",
  DATE: `>= ${THIS_YEAR}-01-01`,
};

/** The type of a field, as filters name it. */
export function typeOf(field: MetadataField): string {
  return field.type.replace("TYPE_", "");
}

/** A comparison with a field of metadata, as an example. */
export function exampleOf(field: MetadataField): string {
  const key = PLAIN_KEY.test(field.key) ? field.key : `"${field.key.replace(/["\\]/g, "\\$&")}"`;
  return `metadata.${key} ${COMPARISONS[typeOf(field)] ?? ":*"}`;
}

/** Whether a notice of an answer is about the metadata that its filter compares. */
export function isOfFilter(notice: string): boolean {
  return /^(no document has the metadata key|metadata\.)/.test(notice);
}

/** A filter with another comparison. OR binds tighter than AND, so that the rest keeps its meaning. */
export function withComparison(filter: string, comparison: string): string {
  return filter.trim() ? `${filter.trim()} AND ${comparison}` : comparison;
}

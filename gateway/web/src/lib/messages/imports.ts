// The words of imports, which are loaded with their form and their list.
const many = (n: number, one: string, other: string): string => `${new Intl.NumberFormat("en").format(n)} ${n === 1 ? one : other}`;

export const imports = {
  none: "Nothing was imported yet.",
  unnamed: "a file",
  added: (n: number) => `${new Intl.NumberFormat("en").format(n)} added`,
  updated: (n: number) => `${new Intl.NumberFormat("en").format(n)} updated`,
  skipped: (n: number) => `${new Intl.NumberFormat("en").format(n)} skipped`,
  nothingNew: (n: number) => `Nothing is new: the dataset has ${n === 1 ? "this document" : `all ${new Intl.NumberFormat("en").format(n)} documents`} already.`,
  onDuplicate: "Documents whose ids are there already",
  duplicates: {
    ON_DUPLICATE_REJECT: "are rejected", ON_DUPLICATE_SKIP: "are skipped", ON_DUPLICATE_REPLACE: "are replaced where they differ",
  } as Record<string, string>,
  rejected: (n: number) => many(n, "item rejected", "items rejected"),
  download: "Rejected items",
  cut: (n: number) => `the first ${new Intl.NumberFormat("en").format(n)} are stored`,
  states: {
    STATE_RUNNING: "running", STATE_SUCCEEDED: "done", STATE_FAILED: "failed", STATE_CANCELLED: "cancelled", STATE_INTERRUPTED: "cut off",
  } as Record<string, string>,
};

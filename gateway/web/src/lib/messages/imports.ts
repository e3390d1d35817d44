// The words of the list of imports, which is loaded with it.
const many = (n: number, one: string, other: string): string => `${new Intl.NumberFormat("en").format(n)} ${n === 1 ? one : other}`;

export const imports = {
  none: "Nothing was imported yet.",
  unnamed: "a file",
  added: (n: number) => `${new Intl.NumberFormat("en").format(n)} added`,
  rejected: (n: number) => many(n, "item rejected", "items rejected"),
  download: "Rejected items",
  cut: (n: number) => `the first ${new Intl.NumberFormat("en").format(n)} are stored`,
  states: {
    STATE_RUNNING: "running", STATE_SUCCEEDED: "done", STATE_FAILED: "failed", STATE_CANCELLED: "cancelled", STATE_INTERRUPTED: "cut off",
  } as Record<string, string>,
};

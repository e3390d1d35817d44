// The words for encoding another dataset, which are loaded with their form.
const many = (n: number, one: string, other: string): string => `${new Intl.NumberFormat("en").format(n)} ${n === 1 ? one : other}`;

export const encoding = {
  title: "Encode another dataset",
  open: "Choose a dataset",
  lead: "Another dataset gets a run with the same features and their labels, without a training.",
  none: (model: string) => `There is no other dataset with vectors of ${model}.`,
  goes: (rows: string, run: string, dataset: string) =>
    `This encodes ${rows} of ${dataset} with the weights of ${run}, computes statistics, and brings its labels. ${dataset} gets a run of its own; ${run} stays as it is.`,
  pending: (rows: string) => `${rows} have no vector yet and are encoded once they are embedded.`,
  start: "Encode",
  stay: "You can use other pages meanwhile. Closing the page leaves the labels out: “Compare” then brings them.",
  done: (labels: number) => `Done, with ${many(labels, "label", "labels")}.`,
  incomplete: "It did not end well, so statistics or labels are missing.",
  toRun: (run: string) => `Open ${run}`,
};

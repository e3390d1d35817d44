// A run as people see it: its own state together with the training job that is in progress on it.
import type { Job, Run } from "./api";
import { num, share } from "./format";
import { m } from "./messages";

export interface RunState {
  text: string;
  kind: "trained" | "training" | "waiting" | "untrained";
  job?: Job;
}

/** The share of a job that is done; undefined while that is not known, as while a training only reads its vectors. */
export function shareDone(job: Job): number | undefined {
  const total = num(job.progress?.total);
  const preparing = job.kind === "train-run" && job.progress?.unit === "vectors";
  return total && !preparing ? num(job.progress?.done) / total : undefined;
}

/** The state of a run, given the jobs that are in progress. */
export function stateOf(run: Run, running: Job[]): RunState {
  const job = running.find((job) => job.kind === "train-run" && job.resources.includes(run.name));
  if (!job) return run.state === "STATE_TRAINED" ? { text: m.runs.trained, kind: "trained" } : { text: m.runs.untrained, kind: "untrained" };
  if (job.state === "STATE_WAITING") return { text: m.jobs.states[job.state]!, kind: "waiting", job };
  if (job.state === "STATE_SUBMITTED") return { text: m.runs.queued, kind: "waiting", job };
  const part = job.progress?.unit === "steps" ? shareDone(job) : undefined;
  return { text: part === undefined ? m.runs.inTraining : m.runs.trainingShare(share(part)), kind: "training", job };
}

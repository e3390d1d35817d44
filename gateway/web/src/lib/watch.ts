// Streams that outlast an outage: the connection is opened again, with growing pauses, until the caller leaves.
import { lines, type Job, type Metrics } from "./api";
import { asApiError } from "./load.svelte";

export const ENDED = ["STATE_SUCCEEDED", "STATE_FAILED", "STATE_CANCELLED"];
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

/** A job now and after each change, until it ends. */
export async function* watchJob(name: string, signal: AbortSignal): AsyncGenerator<Job> {
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    try {
      for await (const job of lines<Job>(`${name}:watch`, {}, signal)) {
        pause = FIRST_PAUSE_MS;
        yield job;
        if (ENDED.includes(job.state)) return;
      }
    } catch (error) {
      if (signal.aborted || !asApiError(error).isOutage) throw error;
    }
    await wait(pause, signal);
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  }
}

/** All measurements of a run so far, again after each one, until the training ends. */
export async function* watchMetrics(run: string, signal: AbortSignal): AsyncGenerator<Metrics[]> {
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    const metrics: Metrics[] = [];
    try {
      for await (const measurement of lines<Metrics>(`${run}/metrics:watch`, {}, signal)) {
        pause = FIRST_PAUSE_MS;
        metrics.push(measurement);
        yield metrics;
      }
      return;
    } catch (error) {
      if (signal.aborted || !asApiError(error).isOutage) throw error;
    }
    await wait(pause, signal);
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  }
}

function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(new DOMException("left", "AbortError")); });
  });
}

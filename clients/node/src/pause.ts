import { setTimeout } from "node:timers/promises";

/** Waits for some milliseconds; throws where the signal is aborted meanwhile. */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await setTimeout(milliseconds, undefined, { signal });
}

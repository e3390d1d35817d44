import { equals } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Job, Job_State, JobSchema } from "./gen/prisma/common/v1/job_pb.js";
import { isOutage, JobFailed } from "./errors.js";
import type { Client } from "./index.js";
import { pause } from "./pause.js";

/**
 * Follows a job: yields it now and after each change, until it has succeeded. While the gateway is unreachable it
 * reconnects, with growing pauses: the job goes on meanwhile. Throws JobFailed, or the error of an outage that lasted
 * longer than the client's patience.
 */
export async function* watchJob(client: Client, name: string, signal?: AbortSignal): AsyncGenerator<Job, Job> {
  let latest: Job | undefined;
  let milliseconds = 200;
  let outage: number | undefined;
  for (;;) {
    let interruption = new ConnectError("the stream of the job ended early", Code.Unavailable);
    try {
      for await (const update of client.jobs.watchJob({ name }, { signal })) {
        [milliseconds, outage] = [200, undefined];
        if (latest && equals(JobSchema, latest, update)) continue;
        latest = update;
        yield update;
      }
    } catch (error) {
      interruption = ConnectError.from(error);
    }
    if (latest?.state === Job_State.SUCCEEDED) return latest;
    if (latest?.state === Job_State.FAILED || latest?.state === Job_State.CANCELLED) throw new JobFailed(latest);
    if (!isOutage(interruption, signal)) throw interruption;
    outage ??= Date.now();
    if (Date.now() - outage > client.patience) throw interruption;
    await pause(milliseconds, signal);
    milliseconds = Math.min(2 * milliseconds, 5_000);
  }
}

/** Waits until a job has succeeded, as `watchJob`. */
export async function waitForJob(client: Client, job: Job, signal?: AbortSignal): Promise<Job> {
  let latest = job;
  for await (const update of watchJob(client, job.name, signal)) latest = update;
  return latest;
}

/**
 * Waits until searches find what is stored in streams of the index: `documents`, `vectors` of a dataset, `codes`, `labels`
 * of a run, which `resource` names.
 */
export async function waitForIndex(
  client: Client,
  dataset: string,
  resource: string,
  kinds: string[],
  signal?: AbortSignal,
): Promise<void> {
  for (;;) {
    const { streams } = await client.search.getIndexStatus({ dataset }, { signal });
    const current = streams.filter((stream) => stream.current && stream.resource === resource);
    if (kinds.every((kind) => current.some((stream) => stream.kind === kind))) return;
    await pause(200, signal);
  }
}

import { durationMs } from "@bufbuild/protobuf/wkt";
import { createRegistry } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Job, Job_State } from "./gen/prisma/common/v1/job_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import type { Status } from "./gen/google/rpc/status_pb.js";

/** The details of an error of a call, or of a job. */
export interface ErrorDetails {
  code: Code;
  /** A name of ErrorReason without its prefix, such as `RUN_NOT_FOUND`. Empty for errors of gRPC itself. */
  reason: string;
  message: string;
  /** Names resources in full: `metadata.run` is `runs/{run}`. */
  metadata: Record<string, string>;
  /** The wrong fields of a request. */
  violations: { field: string; description: string }[];
  /** How long to wait before the call is repeated, in milliseconds; 0 where the server does not say. */
  retryDelay: number;
}

/** A job that failed or was cancelled; `errorDetails` returns its error. */
export class JobFailed extends Error {
  constructor(readonly job: Job) {
    super(`${job.name} (${job.kind}) ended as ${Job_State[job.state]}: ${job.error?.message ?? ""}`);
    this.name = "JobFailed";
  }
}

/** Details of what was thrown; undefined where it is no error of a call or of a job. */
export function errorDetails(error: unknown): ErrorDetails | undefined {
  if (error instanceof JobFailed) return error.job.error && statusDetails(error.job.error);
  if (!(error instanceof ConnectError)) return undefined;
  const [info] = error.findDetails(ErrorInfoSchema);
  const [request] = error.findDetails(BadRequestSchema);
  const [retry] = error.findDetails(RetryInfoSchema);
  return {
    code: error.code,
    reason: info?.reason ?? "",
    message: error.rawMessage,
    metadata: info?.metadata ?? {},
    violations: request?.fieldViolations ?? [],
    retryDelay: retry?.retryDelay ? durationMs(retry.retryDelay) : 0,
  };
}

/** The reason of an error, such as `RUN_NOT_FOUND`; empty where it has none. */
export function reason(error: unknown): string {
  return errorDetails(error)?.reason ?? "";
}

const DETAILS = createRegistry(ErrorInfoSchema, BadRequestSchema, RetryInfoSchema);

/** Details of a status in a message, as in `Job.error`. */
export function statusDetails(status: Status): ErrorDetails {
  const error = new ConnectError(status.message, status.code as Code);
  for (const detail of status.details) {
    const message = anyUnpack(detail, DETAILS);
    const desc = message && DETAILS.getMessage(message.$typeName);
    if (message && desc) error.details.push({ desc, value: message as never });
  }
  return errorDetails(error) as ErrorDetails;
}

/** Whether the server was not reached, or the connection broke, as opposed to an answer. signal: of the call. */
export function isOutage(error: unknown, signal?: AbortSignal): boolean {
  if (!(error instanceof ConnectError) || signal?.aborted) return false;
  if (error.code === Code.Unavailable) return true;
  const broken = [Code.Canceled, Code.Aborted, Code.Internal, Code.Unknown].includes(error.code);
  return broken && error.details.length === 0; // PRISMA's errors have details
}

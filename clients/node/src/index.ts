/**
 * A client of PRISMA: one connection to its gateway, over which all services are called.
 *
 * The stubs of the services are properties of `Client`; messages are those of the generated modules. This package adds
 * what stubs do not do: TLS and API key, retries of calls that only read, jobs that are followed through outages, pages,
 * imports from an iterator, vectors and codes as typed arrays, and errors by reason.
 */
import { readFileSync } from "node:fs";
import { getOption } from "@bufbuild/protobuf";
import { type Client as Stub, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { required_scope, Scope } from "./gen/prisma/common/v1/access_pb.js";
import { JobService } from "./gen/prisma/common/v1/job_pb.js";
import { StatusService } from "./gen/prisma/common/v1/status_pb.js";
import { EmbedderService } from "./gen/prisma/embedder/v1/embedder_service_pb.js";
import { InterpreterService } from "./gen/prisma/interpreter/v1/interpreter_service_pb.js";
import { SearchService } from "./gen/prisma/search/v1/search_service_pb.js";
import { TrainerService } from "./gen/prisma/trainer/v1/trainer_service_pb.js";
import { isOutage } from "./errors.js";
import { pause } from "./pause.js";

export * from "./blocks.js";
export * from "./errors.js";
export * from "./imports.js";
export * from "./jobs.js";
export * from "./pages.js";

const MAX_MESSAGE_BYTES = 64 << 20;
const READ_ATTEMPTS = 4;

export interface Options {
  /** Encrypts the connection, and trusts Node's authorities. */
  tls?: boolean;
  /** The authority that signed the server's certificate, as PEM. Implies `tls`. */
  tlsAuthority?: string;
  /** Sent with each call. Only over TLS, unless the server is on this machine. */
  apiKey?: string;
  /** How long an outage may last while a job is followed, in milliseconds; 10 minutes by default. */
  patience?: number;
}

export class Client {
  readonly embedder: Stub<typeof EmbedderService>;
  readonly trainer: Stub<typeof TrainerService>;
  readonly interpreter: Stub<typeof InterpreterService>;
  readonly search: Stub<typeof SearchService>;
  readonly jobs: Stub<typeof JobService>;
  readonly status: Stub<typeof StatusService>;
  /** How long an outage may last while a job is followed, in milliseconds. */
  readonly patience: number;
  readonly #session: Http2SessionManager;

  /** address: of the gateway, such as `127.0.0.1:50050`. It connects at the first call. */
  constructor(address: string, options: Options = {}) {
    const ca = options.tlsAuthority === undefined ? undefined : readFileSync(options.tlsAuthority);
    const baseUrl = `${options.tls || ca ? "https" : "http"}://${address}`;
    const pings = { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 };
    this.#session = new Http2SessionManager(baseUrl, pings, ca ? { ca } : {});
    const transport = createGrpcTransport({
      baseUrl,
      sessionManager: this.#session,
      interceptors: [retried, ...(options.apiKey ? [authorized(options.apiKey)] : [])],
      readMaxBytes: MAX_MESSAGE_BYTES,
      writeMaxBytes: MAX_MESSAGE_BYTES,
    });
    this.embedder = createClient(EmbedderService, transport);
    this.trainer = createClient(TrainerService, transport);
    this.interpreter = createClient(InterpreterService, transport);
    this.search = createClient(SearchService, transport);
    this.jobs = createClient(JobService, transport);
    this.status = createClient(StatusService, transport);
    this.patience = options.patience ?? 600_000;
  }

  /** Ends the connection, and the calls that are in progress. */
  close(): void {
    this.#session.abort();
  }
}

function authorized(apiKey: string): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${apiKey}`);
    return next(request);
  };
}

/** Retries calls that only read while no server is reachable; others might be done twice. */
const retried: Interceptor = (next) => async (request) => {
  const reads = !request.stream && getOption(request.method, required_scope) === Scope.READ;
  for (let attempt = 1; ; attempt++) {
    try {
      return await next(request);
    } catch (error) {
      if (!reads || !isOutage(error, request.signal) || attempt === READ_ATTEMPTS) throw error;
      await pause(100 * 2 ** attempt, request.signal);
    }
  }
};

/**
 * Shows as JSON what this client makes of golden messages and of a server that breaks calls off. The tests compare it with
 * what the other clients show: node contract.js GOLDEN_FOLDER ADDRESS.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";
import { CodeBlockSchema, type VectorBlock, VectorBlockSchema } from "../src/gen/prisma/common/v1/block_pb.js";
import { Job_State, JobSchema } from "../src/gen/prisma/common/v1/job_pb.js";
import {
  Client,
  errorDetails,
  importDocuments,
  JobFailed,
  pages,
  reason,
  statusDetails,
  unpackCodes,
  unpackVectors,
  watchJob,
} from "../src/index.js";

const [folder = "", address = ""] = process.argv.slice(2);

function read<Desc extends DescMessage>(schema: Desc, name: string): MessageShape<Desc> {
  return fromBinary(schema, readFileSync(join(folder, `${name}.binpb`)));
}

function numbers(values: Float32Array): (number | string)[] {
  return Array.from(values, (value) => (Number.isFinite(value) ? value : "infinity")); // JSON has no infinity
}

function vectors(block: VectorBlock) {
  const { rows, dimension, values } = unpackVectors(block);
  return { rows: rows.map(Number), dimension, values: numbers(values) };
}

function golden() {
  const codes = unpackCodes(read(CodeBlockSchema, "codes"));
  const error = statusDetails(read(StatusSchema, "error"));
  const job = read(JobSchema, "job");
  return {
    "vectors-float32": vectors(read(VectorBlockSchema, "vectors-float32")),
    "vectors-float16": vectors(read(VectorBlockSchema, "vectors-float16")),
    codes: {
      rows: codes.rows.map(Number),
      indptr: Array.from(codes.indptr),
      indices: Array.from(codes.indices),
      values: numbers(codes.values),
      latent_count: codes.latentCount,
    },
    error: {
      code: error.code,
      reason: error.reason,
      message: error.message,
      metadata: error.metadata,
      fields: error.violations.map(({ field }) => field),
      retry_seconds: error.retryDelay / 1000,
    },
    job: {
      name: job.name,
      kind: job.kind,
      state: Job_State[job.state],
      resources: job.resources,
      done: Number(job.progress?.done),
      total: Number(job.progress?.total),
      unit: job.progress?.unit,
      rate: job.progress?.rate,
      attempt: job.attempt,
      created: job.createTime && timestampMs(job.createTime),
    },
  };
}

/** The states that a job went through, and the reason why it failed. */
async function watched(client: Client, name: string): Promise<string[]> {
  const states: string[] = [];
  try {
    for await (const job of watchJob(client, name)) states.push(Job_State[job.state]);
  } catch (error) {
    if (!(error instanceof JobFailed)) throw error;
    states.push(reason(error));
  }
  return states;
}

async function keysOfPages(client: Client): Promise<string[][]> {
  const keys: string[][] = [];
  for await (const page of pages(client.embedder.listDocuments, { parent: "datasets/d", pageSize: 2 })) {
    keys.push(page.documents.map((document) => document.key));
  }
  return keys;
}

/** The number of documents that the server counts in an import of several chunks. */
async function imported(client: Client): Promise<number> {
  const documents = ["1", "2", "3", "4", "5"].map((id) => ({ id, text: "é".repeat(1 << 18) }));
  return Number((await importDocuments(client, "datasets/d", documents)).importedCount);
}

async function failure(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error("the call should have failed");
}

const tlsAuthority = process.env.PRISMA_TLS_AUTHORITY;
const client = new Client(address, { tlsAuthority, apiKey: process.env.PRISMA_API_KEY });
const stranger = new Client(address, { tlsAuthority, apiKey: "a wrong key" });
const shown = {
  golden: golden(),
  refused: reason(await failure(stranger.embedder.getDataset({ name: "datasets/d" }))),
  job: await watched(client, "jobs/broken"),
  failure: await watched(client, "jobs/failing"),
  pages: await keysOfPages(client),
  imported: await imported(client),
  retried: (await client.embedder.getDataset({ name: "datasets/d" })).displayName,
  not_repeated: errorDetails(await failure(client.embedder.createDataset({ datasetId: "twice" })))?.code,
  large: (await client.embedder.getDocument({ name: "datasets/d/documents/large" })).text.length,
};
process.stdout.write(JSON.stringify(shown));
for (const connection of [client, stranger]) connection.close();

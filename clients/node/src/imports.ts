import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ImportDocumentsRequestSchema, ImportDocumentsResponse } from "./gen/prisma/embedder/v1/embedder_service_pb.js";
import { FileLayout_Format } from "./gen/prisma/embedder/v1/resources_pb.js";
import type { Client } from "./index.js";

/** A text to import. */
export interface NewDocument {
  id: string;
  text: string;
  metadata?: Record<string, unknown>;
}

const CHUNK_BYTES = 1 << 20;

/** Streams documents into a dataset, `datasets/{dataset}`, and reports which were rejected. */
export function importDocuments(
  client: Client,
  dataset: string,
  documents: Iterable<NewDocument> | AsyncIterable<NewDocument>,
  signal?: AbortSignal,
): Promise<ImportDocumentsResponse> {
  return client.embedder.importDocuments(messages(dataset, documents), { signal });
}

async function* messages(
  dataset: string,
  documents: Iterable<NewDocument> | AsyncIterable<NewDocument>,
): AsyncGenerator<MessageInitShape<typeof ImportDocumentsRequestSchema>> {
  yield { message: { case: "config", value: { dataset, format: FileLayout_Format.JSON_LINES } } };
  let lines: Buffer[] = [];
  let size = 0;
  for await (const document of documents) {
    const line = Buffer.from(`${JSON.stringify(document)}\n`);
    lines.push(line);
    size += line.length;
    if (size >= CHUNK_BYTES) {
      yield { message: { case: "chunk", value: Buffer.concat(lines) } };
      [lines, size] = [[], 0];
    }
  }
  yield { message: { case: "chunk", value: Buffer.concat(lines) } };
}

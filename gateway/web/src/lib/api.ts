// The one way to the API: types from its OpenAPI document, errors as they are told.
import type { components } from "./schema";

type Schemas = components["schemas"];
/** Answers hold all fields without presence; sub-messages may be absent, so look before you use them. */
type Full<T> = T extends (infer U)[] ? Full<U>[] : T extends object ? { [K in keyof T]-?: Full<T[K]> } : T;

export type Dataset = Full<Schemas["prisma.embedder.v1.Dataset"]>;
export type Doc = Full<Schemas["prisma.embedder.v1.Document"]>;
export type DatasetStatistics = Full<Schemas["prisma.embedder.v1.DatasetStatistics"]>;
export type Distribution = Full<Schemas["prisma.embedder.v1.Distribution"]>;
export type Duplicates = Full<Schemas["prisma.embedder.v1.DuplicateStatistics"]>;
export type DatasetMap = Full<Schemas["prisma.embedder.v1.DatasetMap"]>;
export type ImportPreview = Full<Schemas["prisma.embedder.v1.PreviewDocumentsResponse"]>;
export type ImportReport = Full<Schemas["prisma.embedder.v1.ImportDocumentsResponse"]>;
export type Import = Full<Schemas["prisma.embedder.v1.Import"]>;
export type EmbeddingModels = Full<Schemas["prisma.embedder.v1.ListEmbeddingModelsResponse"]>;
export type Run = Full<Schemas["prisma.trainer.v1.Run"]>;
export type Metrics = Full<Schemas["prisma.trainer.v1.Metrics"]>;
export type Comparison = Full<Schemas["prisma.trainer.v1.CompareRunsResponse"]>;
export type Carried = Full<Schemas["prisma.interpreter.v1.CarryLabelsResponse"]>;
export type Feature = Full<Schemas["prisma.interpreter.v1.Feature"]>;
export type Features = Full<Schemas["prisma.interpreter.v1.ListFeaturesResponse"]>;
export type Neighbor = Full<Schemas["prisma.interpreter.v1.Feature.Neighbor"]>;
export type Membership = Full<Schemas["prisma.interpreter.v1.FamilyMembership"]>;
export type Label = Full<Schemas["prisma.interpreter.v1.Label"]>;
export type LabelModels = Full<Schemas["prisma.interpreter.v1.ListLabelModelsResponse"]>;
export type LabelImport = Full<Schemas["prisma.interpreter.v1.ImportLabelsResponse"]>;
export type Example = Full<Schemas["prisma.interpreter.v1.Example"]>;
export type Family = Full<Schemas["prisma.interpreter.v1.Family"]>;
export type ActivationSample = Full<Schemas["prisma.interpreter.v1.ActivationSample"]>;
export type FeatureMatrix = Full<Schemas["prisma.interpreter.v1.FeatureMatrix"]>;
export type Graph = Full<Schemas["prisma.interpreter.v1.Graph"]>;
export type Analysis = Full<Schemas["prisma.interpreter.v1.Analysis"]>;
export type Interpretation = Full<Schemas["prisma.interpreter.v1.Interpretation"]>;
export type Hits = Full<Schemas["prisma.search.v1.SearchDocumentsResponse"]>;
export type Hit = Full<Schemas["prisma.search.v1.DocumentHit"]>;
export type FeatureHits = Full<Schemas["prisma.search.v1.SearchFeaturesResponse"]>;
export type SimilarDocuments = Full<Schemas["prisma.search.v1.FindSimilarDocumentsResponse"]>;
export type Job = Full<Schemas["prisma.common.v1.Job"]>;
export type ServiceStatus = Full<Schemas["prisma.common.v1.ServiceStatus"]>;
export interface Overview {
  health: string;
  services: ServiceStatus[];
}

export type Query = Record<string, string | number | boolean | string[] | undefined>;

/** What the server, or the network, says against a request. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly reason: string,
    readonly requestId = "",
    readonly violations: { field: string; description: string }[] = [],
  ) {
    super(message);
  }

  /** Whether asking again later may help. */
  get isOutage(): boolean {
    return this.status === 0 || this.status >= 502;
  }
}

interface Detail {
  "@type": string;
  reason?: string;
  requestId?: string;
  fieldViolations?: { field: string; description: string }[];
}

function errorOf(error: { code: number; message: string; details?: Detail[] }): ApiError {
  const find = (kind: string) => error.details?.find((detail) => detail["@type"].endsWith(kind));
  return new ApiError(
    error.message,
    error.code,
    find("ErrorInfo")?.reason ?? "",
    find("RequestInfo")?.requestId ?? "",
    find("BadRequest")?.fieldViolations ?? [],
  );
}

async function answered(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError("The gateway is unreachable. Check that PRISMA is running and that this machine is connected.", 0, "OFFLINE");
  }
  if (response.ok) return response;
  if (response.status === 401) window.dispatchEvent(new Event("prisma:signed-out"));
  const body = await response.json().catch(() => null);
  throw body?.error ? errorOf(body.error) : new ApiError(`HTTP ${response.status}`, response.status, "");
}

function address(path: string, query: Query = {}): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map((item) => [name, item] as const));
  const set = pairs.filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString();
  return `/v1/${path}${text ? `?${text}` : ""}`;
}

export async function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return (await answered(address(path, query), { signal: signal ?? null })).json();
}

export async function send<T>(verb: string, path: string, body: unknown = {}, query?: Query): Promise<T> {
  const init = { method: verb, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return (await answered(address(path, query), verb === "DELETE" ? { method: verb } : init)).json();
}

/** What a file is downloaded with: a POST where there is a body, else a GET. */
export interface Download {
  query?: Query;
  body?: unknown;
}

/** Downloads a file. Returns what the server says of it. */
export async function save(path: string, { query, body }: Download): Promise<string[]> {
  const headers = { "Content-Type": "application/json" };
  const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers };
  const response = await answered(address(path, query), init);
  const content = await response.blob().catch(() => {
    throw new ApiError("The download was interrupted. Start it again.", 0, "OFFLINE");
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "download";
  link.click();
  URL.revokeObjectURL(link.href);
  return JSON.parse(response.headers.get("x-prisma-notices") ?? "[]");
}

export const post = <T>(path: string, body: unknown = {}, query?: Query): Promise<T> => send("POST", path, body, query);

export interface Upload {
  query?: Query;
  /** The file of the vectors. */
  vectors?: File | undefined;
  /** Receives the share that is sent. */
  progress?: (part: number) => void;
  signal?: AbortSignal;
  /** What a cut connection means, and what to do then. */
  interrupted: string;
}

/** Sends a file, and that of its vectors, if there is one. */
export function upload<T>(path: string, file: File, { query, vectors, progress, signal, interrupted }: Upload): Promise<T> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open("POST", address(path, query));
    if (!vectors) request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => progress?.(event.total ? event.loaded / event.total : 0);
    request.onerror = () => reject(new ApiError(interrupted, 0, "OFFLINE"));
    request.onabort = () => reject(new DOMException("The upload was cancelled.", "AbortError"));
    request.onload = () => {
      try {
        const body = JSON.parse(request.responseText);
        if (request.status < 400) resolve(body);
        else reject(errorOf(body.error));
      } catch {
        reject(new ApiError(`HTTP ${request.status}`, request.status, ""));
      }
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(vectors ? form(file, vectors) : file);
  });
}

function form(file: File, vectors: File): FormData {
  const files = new FormData();
  files.append("file", file);
  files.append("vectors", vectors);
  return files;
}

/** The messages of a stream, one JSON value a line. */
export async function* lines<T>(path: string, query: Query, signal: AbortSignal): AsyncGenerator<T> {
  const response = await answered(address(path, query), { signal });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      if (signal.aborted) throw error;
      throw new ApiError("The connection to the gateway was interrupted.", 0, "OFFLINE");
    });
    rest += value ?? "";
    const parts = rest.split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      const message = JSON.parse(part);
      if (message.error?.details) throw errorOf(message.error);
      yield message as T;
    }
    if (done) return;
  }
}

/** All pages of a list, at most `most` items. */
export async function all<T>(path: string, field: string, query: Query = {}, most = 5000): Promise<T[]> {
  const items: T[] = [];
  let pageToken = "";
  do {
    const page: Record<string, unknown> = await get(path, { ...query, pageSize: Math.min(1000, most), pageToken });
    items.push(...(page[field] as T[]));
    pageToken = page["nextPageToken"] as string;
  } while (pageToken && items.length < most);
  return items;
}

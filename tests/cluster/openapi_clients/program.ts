// A user's program on the types that openapi-typescript generates: creates a dataset, reads it, names one too few.
import type { components, paths } from "./schema";

type Dataset = components["schemas"]["prisma.embedder.v1.Dataset"];
type Create = paths["/v1/datasets"]["post"]["requestBody"]["content"]["application/json"];
type Answers = paths["/v1/datasets/{dataset}"]["get"]["responses"];
declare const process: { argv: string[] };

const api = `${process.argv[2]}/v1/datasets`;
const body: Create = { displayName: "Generated", embeddingModel: "builtin" };
const headers = { "content-type": "application/json" };
await fetch(`${api}?datasetId=typescript`, { method: "POST", headers, body: JSON.stringify(body) });
const dataset: Dataset = await (await fetch(`${api}/typescript`)).json();
const count: string = dataset.documentCount; // always there: the type says so
const missing: Answers[404]["content"]["application/json"] = await (await fetch(`${api}/none`)).json();
console.log(dataset.name, dataset.displayName, count, missing.error.code);

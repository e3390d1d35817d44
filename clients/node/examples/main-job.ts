/**
 * The main job: import texts, embed them, train a run, name its features, search. Prints a table.
 *
 *     npm run main-job -- DATASET_ID
 *
 * PRISMA_ADDRESS is the gateway, 127.0.0.1:50050 by default; PRISMA_API_KEY and PRISMA_TLS_AUTHORITY are optional.
 */
import {
  Client,
  codeAt,
  errorDetails,
  importDocuments,
  type NewDocument,
  pages,
  unpackCodes,
  unpackVectors,
  vectorAt,
  waitForIndex,
  waitForJob,
} from "../src/index.js";
import type { Feature } from "../src/gen/prisma/interpreter/v1/resources_pb.js";
import { SearchDocumentsRequest_Mode as Mode } from "../src/gen/prisma/search/v1/search_service_pb.js";

const SUBJECTS = [
  "The ferry to the island",
  "The tunnel below the city",
  "The choir of the cathedral",
  "The recipe for rye bread",
  "The orbit of the comet",
  "The court of appeal",
  "The vaccine against measles",
  "The final of the cup",
  "The price of copper",
  "The song of the whales",
];
const PREDICATES = [
  "was late because of fog",
  "is described in an old book",
  "was discussed on the radio",
  "has changed since spring",
  "surprised the experts",
  "is older than the town",
  "costs more than before",
  "was explained to children",
  "attracts many visitors",
  "is shown on a stamp",
  "was measured again",
  "had to be postponed",
  "appears in a poem",
  "is a matter of dispute",
  "was filmed at night",
  "was studied by students",
  "caused a long debate",
  "ended in the rain",
  "is known abroad",
  "was praised by a critic",
];

function* documents(): Generator<NewDocument> {
  for (const [topic, subject] of SUBJECTS.entries()) {
    for (const [number, predicate] of PREDICATES.entries()) {
      const id = `${topic}-${String(number).padStart(2, "0")}`;
      yield { id, text: `${subject} ${predicate}.`, metadata: { topic } };
    }
  }
}

async function mainJob(client: Client, id: string): Promise<void> {
  const { name: dataset } = await client.embedder.createDataset({ datasetId: id, dataset: { displayName: "Clients" } });
  const imported = await importDocuments(client, dataset, documents());
  row("imported", `${imported.importedCount}, ${imported.rejectedCount} rejected`);
  await waitForJob(client, await client.embedder.embedDataset({ name: dataset }));
  const embedded = await client.embedder.getDataset({ name: dataset });
  row("embedded", `${embedded.embeddedCount}, ${embedded.dimension} numbers each`);
  const run = await train(client, dataset, id);
  await showFeatures(client, run);
  await showFirstRow(client, dataset, run);
  await search(client, dataset, run);
  try {
    await client.trainer.getRun({ name: "runs/none" });
  } catch (error) {
    const details = errorDetails(error);
    row("error", `${details?.reason}, run=${details?.metadata.run}`);
  }
}

async function train(client: Client, dataset: string, id: string): Promise<string> {
  const config = { expansion: 1, k: 8, siblings: 0, threads: 1 };
  const { name } = await client.trainer.createRun({ runId: id, run: { dataset, config } });
  await waitForJob(client, await client.trainer.trainRun({ name }));
  const run = await client.trainer.getRun({ name });
  row("trained", `${run.latentCount} latents, ${run.config?.k} active`);
  await waitForJob(client, await client.interpreter.computeStatistics({ run: name }));
  await waitForJob(client, await client.interpreter.labelFeatures({ run: name }));
  return name;
}

async function showFeatures(client: Client, run: string): Promise<void> {
  let pageCount = 0;
  const features: Feature[] = [];
  const request = { parent: run, pageSize: 100, orderBy: "index" };
  for await (const page of pages(client.interpreter.listFeatures, request)) {
    pageCount++;
    features.push(...page.features);
  }
  row("features", `${features.length} in ${pageCount} pages`);
  for (const feature of features.filter((feature) => feature.label?.text).slice(0, 5)) {
    row("", `${feature.index} ${feature.maxActivation.toFixed(4)} ${feature.label?.text}`);
  }
}

async function showFirstRow(client: Client, dataset: string, run: string): Promise<void> {
  const rowRanges = [{ start: 0n, end: 1n }];
  for await (const block of client.embedder.readVectors({ dataset, rowRanges })) {
    if (!block.vectors) continue;
    const vector = vectorAt(unpackVectors(block.vectors), 0);
    row("vector", `${Array.from(vector.subarray(0, 4), (value) => value.toFixed(4)).join(" ")} ...`);
  }
  for await (const block of client.trainer.readCodes({ run, rowRanges })) {
    if (!block.codes) continue;
    const { indices, values } = codeAt(unpackCodes(block.codes), 0);
    row("code", Array.from(indices, (latent, place) => `${latent}:${values[place]?.toFixed(4)}`).join(" "));
  }
}

async function search(client: Client, dataset: string, run: string): Promise<void> {
  await waitForIndex(client, dataset, dataset, ["documents", "vectors"]);
  await waitForIndex(client, dataset, run, ["codes", "labels"]);
  for (const mode of [Mode.FULL_TEXT, Mode.SEMANTIC, Mode.SPARSE, Mode.HYBRID]) {
    const query = "fog on the way to the island";
    const { hits } = await client.search.searchDocuments({ parent: dataset, query, mode, run, pageSize: 3 });
    row(Mode[mode].toLowerCase(), hits.map((hit) => `${hit.key} ${hit.score.toFixed(4)}`).join(", "));
  }
}

function row(name: string, text: string): void {
  console.log(`${name.padEnd(10)} ${text}`.trim());
}

const client = new Client(process.env.PRISMA_ADDRESS ?? "127.0.0.1:50050", {
  apiKey: process.env.PRISMA_API_KEY,
  tlsAuthority: process.env.PRISMA_TLS_AUTHORITY,
});
await mainJob(client, process.argv[2] ?? "clients-node");
client.close();

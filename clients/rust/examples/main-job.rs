//! The main job: import texts, embed them, train a run, name its features, search. Prints a table.
//!
//!     cargo run --example main-job DATASET_ID
//!
//! PRISMA_ADDRESS is the gateway, 127.0.0.1:50050 by default; PRISMA_API_KEY and PRISMA_TLS_AUTHORITY are optional.

use std::{env, error::Error};

use prisma::{
    Client, Codes, NewDocument, Options, Pages, Vectors,
    common::v1::RowRange,
    embedder::v1::{CreateDatasetRequest, Dataset, EmbedDatasetRequest, GetDatasetRequest, ReadVectorsRequest},
    interpreter::v1::{ComputeStatisticsRequest, Feature, LabelFeaturesRequest, ListFeaturesRequest},
    retry,
    search::v1::{SearchDocumentsRequest, search_documents_request::Mode},
    trainer::v1::{Config, CreateRunRequest, GetRunRequest, ReadCodesRequest, Run, TrainRunRequest},
};

const SUBJECTS: [&str; 10] = [
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
const PREDICATES: [&str; 20] = [
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

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let address = env::var("PRISMA_ADDRESS").unwrap_or("127.0.0.1:50050".into());
    let options = Options {
        api_key: env::var("PRISMA_API_KEY").ok(),
        tls_authority: env::var_os("PRISMA_TLS_AUTHORITY").map(Into::into),
        ..Options::default()
    };
    let client = Client::connect(&address, options)?;
    main_job(&client, &env::args().nth(1).unwrap_or("clients-rust".into())).await
}

fn documents() -> impl Iterator<Item = NewDocument> {
    SUBJECTS.iter().enumerate().flat_map(|(topic, subject)| {
        PREDICATES.iter().enumerate().map(move |(number, predicate)| NewDocument {
            id: format!("{topic}-{number:02}"),
            text: format!("{subject} {predicate}."),
            metadata: [("topic".into(), topic.into())].into_iter().collect(),
        })
    })
}

async fn main_job(client: &Client, id: &str) -> Outcome<()> {
    let dataset = Dataset { display_name: "Clients".into(), ..Dataset::default() };
    let request = CreateDatasetRequest { dataset_id: id.into(), dataset: Some(dataset), ..Default::default() };
    let dataset = client.embedder().create_dataset(request).await?.into_inner().name;
    let imported = client.import(&dataset, documents()).await?;
    row("imported", format!("{}, {} rejected", imported.imported_count, imported.rejected_count));
    let request = EmbedDatasetRequest { name: dataset.clone(), ..Default::default() };
    client.wait(client.embedder().embed_dataset(request).await?.get_ref(), |_| ()).await?;
    let request = GetDatasetRequest { name: dataset.clone() };
    let embedded = retry(|| async { client.embedder().get_dataset(request.clone()).await }).await?;
    row("embedded", format!("{}, {} numbers each", embedded.embedded_count, embedded.dimension));
    let run = train(client, &dataset, id).await?;
    show_features(client, &run).await?;
    show_first_row(client, &dataset, &run).await?;
    search(client, &dataset, &run).await?;
    if let Err(error) =
        retry(|| async { client.trainer().get_run(GetRunRequest { name: "runs/none".into() }).await }).await
    {
        row("error", format!("{}, run={}", error.reason, error.metadata["run"]));
    }
    Ok(())
}

async fn train(client: &Client, dataset: &str, id: &str) -> Outcome<String> {
    let config = Config { expansion: Some(1), k: Some(8), siblings: Some(0), threads: Some(1), ..Config::default() };
    let run = Run { dataset: dataset.into(), config: Some(config), ..Run::default() };
    let request = CreateRunRequest { run_id: id.into(), run: Some(run), ..Default::default() };
    let name = client.trainer().create_run(request).await?.into_inner().name;
    let request = TrainRunRequest { name: name.clone(), ..Default::default() };
    client.wait(client.trainer().train_run(request).await?.get_ref(), |_| ()).await?;
    let run = client.trainer().get_run(GetRunRequest { name: name.clone() }).await?.into_inner();
    row("trained", format!("{} latents, {} active", run.latent_count, run.config.unwrap_or_default().k()));
    let request = ComputeStatisticsRequest { run: name.clone(), ..Default::default() };
    client.wait(client.interpreter().compute_statistics(request).await?.get_ref(), |_| ()).await?;
    let request = LabelFeaturesRequest { run: name.clone(), ..Default::default() };
    client.wait(client.interpreter().label_features(request).await?.get_ref(), |_| ()).await?;
    Ok(name)
}

async fn show_features(client: &Client, run: &str) -> Outcome<()> {
    let request =
        ListFeaturesRequest { parent: run.into(), page_size: 100, order_by: "index".into(), ..Default::default() };
    let list = |request| async { client.interpreter().list_features(request).await };
    let (mut pages, mut page_count) = (Pages::new(request, list), 0);
    let mut features: Vec<Feature> = Vec::new();
    while let Some(page) = pages.next().await? {
        page_count += 1;
        features.extend(page.features);
    }
    row("features", format!("{} in {page_count} pages", features.len()));
    let labels = features.iter().filter_map(|feature| Some((feature, feature.label.as_ref()?)));
    for (feature, label) in labels.filter(|(_, label)| !label.text.is_empty()).take(5) {
        row("", format!("{} {:.4} {}", feature.index, feature.max_activation, label.text));
    }
    Ok(())
}

async fn show_first_row(client: &Client, dataset: &str, run: &str) -> Outcome<()> {
    let row_ranges = vec![RowRange { start: 0, end: 1 }];
    let request = ReadVectorsRequest { dataset: dataset.into(), row_ranges: row_ranges.clone(), ..Default::default() };
    let mut blocks = client.embedder().read_vectors(request).await?.into_inner();
    while let Some(block) = blocks.message().await? {
        let vectors = Vectors::try_from(&block.vectors.unwrap_or_default())?;
        let numbers: Vec<String> = vectors.vector(0)[..4].iter().map(|value| format!("{value:.4}")).collect();
        row("vector", format!("{} ...", numbers.join(" ")));
    }
    let request = ReadCodesRequest { run: run.into(), row_ranges, ..Default::default() };
    let mut blocks = client.trainer().read_codes(request).await?.into_inner();
    while let Some(block) = blocks.message().await? {
        let codes = Codes::try_from(&block.codes.unwrap_or_default())?;
        let (latents, activations) = codes.code(0);
        let pairs = latents.iter().zip(activations).map(|(latent, activation)| format!("{latent}:{activation:.4}"));
        row("code", pairs.collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

async fn search(client: &Client, dataset: &str, run: &str) -> Outcome<()> {
    client.wait_for_index(dataset, dataset, &["documents", "vectors"]).await?;
    client.wait_for_index(dataset, run, &["codes", "labels"]).await?;
    for mode in [Mode::FullText, Mode::Semantic, Mode::Sparse, Mode::Hybrid] {
        let request = SearchDocumentsRequest {
            parent: dataset.into(),
            query: "fog on the way to the island".into(),
            mode: mode.into(),
            run: run.into(),
            page_size: 3,
            ..Default::default()
        };
        let hits = client.search().search_documents(request).await?.into_inner().hits;
        let hits: Vec<String> = hits.iter().map(|hit| format!("{} {:.4}", hit.key, hit.score)).collect();
        row(&mode.as_str_name().trim_start_matches("MODE_").to_lowercase(), hits.join(", "));
    }
    Ok(())
}

fn row(name: &str, text: String) {
    println!("{}", format!("{name:10} {text}").trim());
}

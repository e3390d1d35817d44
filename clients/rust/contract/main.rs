//! Shows as JSON what this client makes of golden messages and of a server that breaks calls off. The tests compare it with
//! what the other clients show: contract GOLDEN_FOLDER ADDRESS.

use std::{env, error::Error, fs, path::Path};

use prisma::{
    Client, Codes, NewDocument, Options, Pages, Vectors,
    common::v1::{CodeBlock, Job, VectorBlock, job::State},
    embedder::v1::{CreateDatasetRequest, GetDatasetRequest, GetDocumentRequest, ListDocumentsRequest},
    google::rpc::Status,
    retry,
};
use prost::Message;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().collect();
    let client = connect(&arguments[2], env::var("PRISMA_API_KEY")?)?;
    let stranger = connect(&arguments[2], "a wrong key".into())?;
    let dataset = GetDatasetRequest { name: "datasets/d".into() };
    let refusal = retry(|| async { stranger.embedder().get_dataset(dataset.clone()).await }).await.unwrap_err();
    let twice = CreateDatasetRequest { dataset_id: "twice".into(), ..Default::default() };
    let document = GetDocumentRequest { name: "datasets/d/documents/large".into(), ..Default::default() };
    let shown = json!({
        "golden": golden(Path::new(&arguments[1]))?,
        "refused": refusal.reason,
        "job": watched(&client, "jobs/broken").await?,
        "failure": watched(&client, "jobs/failing").await?,
        "pages": keys_of_pages(&client).await?,
        "imported": imported(&client).await?,
        "retried": retry(|| async { client.embedder().get_dataset(dataset.clone()).await }).await?.display_name,
        "not_repeated": client.embedder().create_dataset(twice).await.unwrap_err().code() as i32,
        "large": client.embedder().get_document(document).await?.into_inner().text.len(),
    });
    print!("{shown}");
    Ok(())
}

fn connect(address: &str, key: String) -> Outcome<Client> {
    let tls_authority = env::var_os("PRISMA_TLS_AUTHORITY").map(Into::into);
    Client::connect(address, Options { api_key: Some(key), tls_authority, ..Options::default() })
}

fn golden(folder: &Path) -> Outcome<Value> {
    let codes = Codes::try_from(&read::<CodeBlock>(folder, "codes")?)?;
    let error: prisma::Error = read::<Status>(folder, "error")?.into();
    let job = read::<Job>(folder, "job")?;
    let progress = job.progress.clone().unwrap_or_default();
    let created = job.create_time.unwrap_or_default();
    Ok(json!({
        "vectors-float32": vectors(folder, "vectors-float32")?,
        "vectors-float16": vectors(folder, "vectors-float16")?,
        "codes": {
            "rows": codes.rows, "indptr": codes.indptr, "indices": codes.indices, "values": numbers(&codes.values),
            "latent_count": codes.latent_count,
        },
        "error": {
            "code": error.code as i32, "reason": error.reason, "message": error.message, "metadata": error.metadata,
            "fields": error.violations.iter().map(|violation| &violation.field).collect::<Vec<_>>(),
            "retry_seconds": error.retry_delay.unwrap_or_default().as_secs_f64(),
        },
        "job": {
            "name": job.name, "kind": job.kind, "state": state(&job), "resources": job.resources,
            "done": progress.done, "total": progress.total, "unit": progress.unit, "rate": progress.rate,
            "attempt": job.attempt, "created": created.seconds * 1000 + i64::from(created.nanos) / 1_000_000,
        },
    }))
}

fn read<T: Message + Default>(folder: &Path, name: &str) -> Outcome<T> {
    Ok(T::decode(fs::read(folder.join(name).with_extension("binpb"))?.as_slice())?)
}

fn vectors(folder: &Path, name: &str) -> Outcome<Value> {
    let vectors = Vectors::try_from(&read::<VectorBlock>(folder, name)?)?;
    Ok(json!({"rows": vectors.rows, "dimension": vectors.dimension, "values": numbers(&vectors.values)}))
}

/// As doubles; JSON has no infinity.
fn numbers(values: &[f32]) -> Vec<Value> {
    values.iter().map(|value| if value.is_finite() { f64::from(*value).into() } else { "infinity".into() }).collect()
}

fn state(job: &Job) -> String {
    State::try_from(job.state).unwrap_or_default().as_str_name().trim_start_matches("STATE_").into()
}

/// The states that a job went through, and the reason why it failed.
async fn watched(client: &Client, name: &str) -> Outcome<Vec<String>> {
    let mut states = Vec::new();
    let job = Job { name: name.into(), ..Job::default() };
    match client.wait(&job, |job| states.push(state(job))).await {
        Err(error) if error.job.is_some() => states.push(error.reason),
        result => drop(result?),
    }
    Ok(states)
}

async fn keys_of_pages(client: &Client) -> Outcome<Vec<Vec<String>>> {
    let request = ListDocumentsRequest { parent: "datasets/d".into(), page_size: 2, ..Default::default() };
    let mut pages = Pages::new(request, |request| async { client.embedder().list_documents(request).await });
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await? {
        keys.push(page.documents.into_iter().map(|document| document.key).collect());
    }
    Ok(keys)
}

/// The number of documents that the server counts in an import of several chunks.
async fn imported(client: &Client) -> Outcome<u64> {
    let document = |id: u32| NewDocument { id: id.to_string(), text: "é".repeat(1 << 18), ..Default::default() };
    Ok(client.import("datasets/d", (1..=5).map(document)).await?.imported_count)
}

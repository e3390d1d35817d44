//! Imports from an iterator.

use serde_json::{Map, Value, json};

use crate::{
    Client, Error,
    embedder::v1::{
        ImportDocumentsRequest, ImportDocumentsResponse,
        file_layout::Format,
        import_documents_request::{Config, Message},
    },
};

const CHUNK_BYTES: usize = 1 << 20;

/// A text to import.
#[derive(Clone, Debug, Default)]
pub struct NewDocument {
    pub id: String,
    pub text: String,
    pub metadata: Map<String, Value>,
}

impl Client {
    /// Streams documents into a dataset, `datasets/{dataset}`, and reports which were rejected.
    pub async fn import<Documents>(&self, dataset: &str, documents: Documents) -> Result<ImportDocumentsResponse, Error>
    where
        Documents: IntoIterator<Item = NewDocument>,
        Documents::IntoIter: Send + 'static,
    {
        let config = Config { dataset: dataset.into(), format: Format::JsonLines.into(), ..Default::default() };
        let messages =
            std::iter::once(Message::Config(config)).chain(chunks(documents.into_iter()).map(Message::Chunk));
        let requests = messages.map(|message| ImportDocumentsRequest { message: Some(message) });
        Ok(self.embedder().import_documents(tokio_stream::iter(requests)).await?.into_inner())
    }
}

/// JSON lines in pieces of about `CHUNK_BYTES`.
fn chunks(mut documents: impl Iterator<Item = NewDocument>) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_BYTES {
            let Some(NewDocument { id, text, metadata }) = documents.next() else { break };
            chunk.extend_from_slice(json!({"id": id, "text": text, "metadata": metadata}).to_string().as_bytes());
            chunk.push(b'\n');
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

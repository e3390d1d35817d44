//! The connection, and the stubs over it.

use std::{future::Future, path::PathBuf, time::Duration};

use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    Error,
    common::v1::{job_service_client::JobServiceClient, status_service_client::StatusServiceClient},
    embedder::v1::embedder_service_client::EmbedderServiceClient,
    errors::is_outage,
    interpreter::v1::interpreter_service_client::InterpreterServiceClient,
    search::v1::search_service_client::SearchServiceClient,
    trainer::v1::trainer_service_client::TrainerServiceClient,
};

const MAX_MESSAGE_BYTES: usize = 64 << 20;
const READ_ATTEMPTS: u32 = 4;

/// Options of a client. The default is a connection without TLS or key.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Encrypts the connection, and trusts the system's authorities.
    pub tls: bool,
    /// The authority that signed the server's certificate, as PEM. Implies `tls`.
    pub tls_authority: Option<PathBuf>,
    /// Sent with each call. Only over TLS, unless the server is on this machine.
    pub api_key: Option<String>,
    /// How long an outage may last while a job is followed; 10 minutes by default.
    pub patience: Option<Duration>,
}

/// What stubs call through: a channel that adds the key to each call.
pub type Transport = InterceptedService<Channel, ApiKey>;

/// A connection to a gateway. Clones share it.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    pub(crate) patience: Duration,
}

macro_rules! stubs {
    ($($name:ident: $stub:ident),*) => {$(
        /// The stub of a service.
        pub fn $name(&self) -> $stub<Transport> {
            $stub::new(self.transport.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        }
    )*};
}

impl Client {
    /// A client of the gateway at an address such as `127.0.0.1:50050`. It connects at the first call.
    pub fn connect(address: &str, options: Options) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let tls = match &options.tls_authority {
            Some(path) => Some(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(std::fs::read(path)?))),
            None => options.tls.then(|| ClientTlsConfig::new().with_native_roots()),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10));
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(tls)?;
        }
        let authorization = options.api_key.map(|key| format!("Bearer {key}").parse()).transpose()?;
        Ok(Self {
            transport: InterceptedService::new(endpoint.connect_lazy(), ApiKey(authorization)),
            patience: options.patience.unwrap_or(Duration::from_secs(600)),
        })
    }

    stubs! {
        embedder: EmbedderServiceClient,
        trainer: TrainerServiceClient,
        interpreter: InterpreterServiceClient,
        search: SearchServiceClient,
        jobs: JobServiceClient,
        status: StatusServiceClient
    }
}

/// Repeats a call that only reads while no server is reachable: `retry(|| client.embedder().get_dataset(…))`. A call that
/// changes something might be done twice.
pub async fn retry<T, Call>(call: impl Fn() -> Call) -> Result<T, Error>
where
    Call: Future<Output = Result<Response<T>, Status>>,
{
    let mut attempt = 1;
    loop {
        match call().await {
            Err(status) if is_outage(&status) && attempt < READ_ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                attempt += 1;
            }
            result => return Ok(result?.into_inner()),
        }
    }
}

/// The key as a bearer token.
#[derive(Clone)]
pub struct ApiKey(Option<MetadataValue<Ascii>>);

impl Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.0 {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

//! Errors of calls and of jobs, by reason.

use std::{collections::HashMap, fmt, time::Duration};

use prost::{Message, Name};
use tonic::Code;

use crate::{
    common::v1::Job,
    google::rpc::{BadRequest, ErrorInfo, RetryInfo, Status, bad_request::FieldViolation},
};

/// An error of a call, or of a job that failed or was cancelled.
#[derive(Clone, Debug)]
pub struct Error {
    pub code: Code,
    /// A name of ErrorReason without its prefix, such as `RUN_NOT_FOUND`. Empty for errors of gRPC itself.
    pub reason: String,
    pub message: String,
    /// Names resources in full: `metadata["run"]` is `runs/{run}`.
    pub metadata: HashMap<String, String>,
    /// The wrong fields of a request.
    pub violations: Vec<FieldViolation>,
    /// How long to wait before the call is repeated, where the server says so.
    pub retry_delay: Option<Duration>,
    /// The job that failed.
    pub job: Option<Box<Job>>,
}

impl Error {
    /// The error of a job.
    pub fn of_job(job: Job) -> Self {
        let status = job.error.clone().unwrap_or_default();
        Self { job: Some(Box::new(job)), ..status.into() }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let mut error = Self {
            code: Code::from_i32(status.code),
            reason: String::new(),
            message: status.message,
            metadata: HashMap::new(),
            violations: Vec::new(),
            retry_delay: None,
            job: None,
        };
        for detail in &status.details {
            if let Some(info) = unpack::<ErrorInfo>(detail) {
                (error.reason, error.metadata) = (info.reason, info.metadata);
            } else if let Some(request) = unpack::<BadRequest>(detail) {
                error.violations = request.field_violations;
            } else if let Some(retry) = unpack::<RetryInfo>(detail) {
                error.retry_delay = retry.retry_delay.and_then(|delay| Duration::try_from(delay).ok());
            }
        }
        error
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        let details = Status::decode(status.details()).unwrap_or_default().details;
        Status { code: status.code() as i32, message: status.message().into(), details }.into()
    }
}

/// Whether the server was not reached, or the connection broke, as opposed to an answer.
pub(crate) fn is_outage(status: &tonic::Status) -> bool {
    let broken = matches!(status.code(), Code::Unknown | Code::Internal) && std::error::Error::source(status).is_some();
    status.code() == Code::Unavailable || broken
}

fn unpack<T: Message + Name + Default>(detail: &prost_types::Any) -> Option<T> {
    let is_one = detail.type_url.rsplit('/').next() == Some(T::full_name().as_str());
    is_one.then(|| T::decode(detail.value.as_slice()).ok()).flatten()
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.job {
            Some(job) => write!(
                formatter,
                "{} ({}) ended as {}: {}",
                job.name,
                job.kind,
                job.state().as_str_name(),
                self.message
            ),
            None => write!(formatter, "{:?} {}: {}", self.code, self.reason, self.message),
        }
    }
}

impl std::error::Error for Error {}

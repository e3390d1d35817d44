//! Jobs that are followed through outages, and the index that follows them.

use std::time::{Duration, Instant};

use crate::{
    Client, Error,
    common::v1::{Job, WatchJobRequest, job::State},
    errors::is_outage,
    retry,
    search::v1::GetIndexStatusRequest,
};

impl Client {
    /// Follows a job until it has succeeded, and calls `progress` with it after each change. While the gateway is unreachable
    /// it reconnects, with growing pauses: the job goes on meanwhile. Fails with the error of the job, or with that of an
    /// outage that lasted longer than the client's patience.
    pub async fn wait(&self, job: &Job, mut progress: impl FnMut(&Job)) -> Result<Job, Error> {
        let mut latest: Option<Job> = None;
        let (mut pause, mut outage) = (Duration::from_millis(200), None);
        loop {
            let interruption = self
                .watch(&job.name, |update| {
                    (pause, outage) = (Duration::from_millis(200), None);
                    if latest.as_ref() != Some(&update) {
                        progress(&update);
                        latest = Some(update);
                    }
                })
                .await;
            match latest.as_ref().map(Job::state) {
                Some(State::Succeeded) => return Ok(latest.take().unwrap_or_default()),
                Some(State::Failed | State::Cancelled) => return Err(Error::of_job(latest.take().unwrap_or_default())),
                _ => {}
            }
            let start = *outage.get_or_insert_with(Instant::now);
            if !is_outage(&interruption) || start.elapsed() > self.patience {
                return Err(interruption.into());
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(5));
        }
    }

    /// Reads one stream of a job to its end.
    async fn watch(&self, name: &str, mut progress: impl FnMut(Job)) -> tonic::Status {
        let request = WatchJobRequest { name: name.into() };
        let mut stream = match self.jobs().watch_job(request).await {
            Ok(response) => response.into_inner(),
            Err(error) => return error,
        };
        loop {
            match stream.message().await {
                Ok(Some(update)) => progress(update),
                Ok(None) => return tonic::Status::unavailable("the stream of the job ended early"),
                Err(error) => return error,
            }
        }
    }

    /// Waits until searches find what is stored in streams of the index: `documents`, `vectors` of a dataset, `codes`,
    /// `labels` of a run, which `resource` names.
    pub async fn wait_for_index(&self, dataset: &str, resource: &str, kinds: &[&str]) -> Result<(), Error> {
        loop {
            let request = GetIndexStatusRequest { dataset: dataset.into() };
            let index = retry(|| async { self.search().get_index_status(request.clone()).await }).await?;
            let is_current = |kind: &&str| {
                index.streams.iter().any(|stream| stream.current && stream.kind == *kind && stream.resource == resource)
            };
            if kinds.iter().all(is_current) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

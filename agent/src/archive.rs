//! Moving objects to and from the archive with requests that the worker signed.
//!
//! The URL of such a request is a secret for as long as it is good: it is never logged, and no
//! error of the HTTP client is shown before it was taken out.
//!
//! What is in memory at once is bounded by [`Archive::reserve`], over all calls of this agent.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::ETAG;
use reqwest::{Client, RequestBuilder, Response};
use shared::agent_api::wal::Signed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

mod attempts;
mod verdict;

pub(crate) use attempts::{Attempts, Pauses};
pub(crate) use verdict::{Failure, Got, Put};
use verdict::{judge_get, judge_head, judge_put};

/// Longest time to a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// How long an unused connection is kept: longer than most times between two pushes.
const KEEP_IDLE: Duration = Duration::from_mins(1);

/// Memory is reserved in units of this many bytes.
const UNIT_BYTES: usize = 1024;

/// How much of an answer that should have been empty is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// A way to the archive, with memory and processors of its own.
#[derive(Debug)]
pub(crate) struct Archive {
    client: OnceLock<Result<Client, String>>,
    memory_units: usize,
    memory: Arc<Semaphore>,
    processors: Arc<Semaphore>,
}

/// Memory that is set aside, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reserved(OwnedSemaphorePermit);

impl Reserved {
    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let excess = self.0.num_permits().saturating_sub(units(bytes));
        drop(self.0.split(excess));
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES)
}

impl Archive {
    /// One that holds at most `memory_bytes` in memory at once, and keeps at most `processors`
    /// busy. An agent shares its machine with the database that it serves.
    pub(crate) fn new(memory_bytes: usize, processors: usize) -> Self {
        let memory_units = units(memory_bytes);
        Self {
            client: OnceLock::new(),
            memory_units,
            memory: Arc::new(Semaphore::new(memory_units)),
            processors: Arc::new(Semaphore::new(processors.max(1))),
        }
    }

    /// Waits until `bytes` of memory are free, and sets them aside. Who needs more than there is at
    /// all gets all of it for himself. Who holds some must not wait for more.
    pub(crate) async fn reserve(&self, bytes: usize) -> Reserved {
        let units = u32::try_from(units(bytes).min(self.memory_units)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.memory).acquire_many_owned(units).await;
        Reserved(permit.expect("the semaphore of the memory is never closed"))
    }

    /// Does work that keeps a processor busy, when one is free for it: as many at once as there
    /// are.
    ///
    /// # Errors
    /// What became of work that was lost.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let permit = Arc::clone(&self.processors).acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        })
        .await
    }

    /// Writes an object where there is none yet; looks first where the store itself would not see to
    /// that. One attempt.
    pub(crate) async fn put(
        &self,
        to: &Signed,
        object: Bytes,
        patience: Duration,
    ) -> Result<Put, Failure> {
        let client = self.client()?;
        if let Some(look) = &to.look_first
            && self.is_there(look, patience).await?
        {
            return Ok(Put::Taken);
        }
        let request = signed(client.put(to.url.expose()), to);
        let response = request
            .timeout(patience)
            .body(object)
            .send()
            .await
            .map_err(lost)?;
        let status = response.status();
        let is_tagged = response.headers().contains_key(ETAG);
        let (body, _) = read(response, ANSWER_BYTES_MAX).await?;
        judge_put(status, is_tagged, &body)
    }

    async fn is_there(&self, at: &Signed, patience: Duration) -> Result<bool, Failure> {
        let request = signed(self.client()?.head(at.url.expose()), at);
        let response = request.timeout(patience).send().await.map_err(lost)?;
        let is_tagged = response.headers().contains_key(ETAG);
        judge_head(response.status(), is_tagged)
    }

    /// Reads an object of at most `bytes_max`. One attempt.
    pub(crate) async fn get(
        &self,
        from: &Signed,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Got, Failure> {
        let client = self.client()?;
        let request = signed(client.get(from.url.expose()), from);
        let response = request.timeout(patience).send().await.map_err(lost)?;
        let status = response.status();
        let bytes_max = if status == StatusCode::OK {
            bytes_max
        } else {
            ANSWER_BYTES_MAX
        };
        let (body, is_whole) = read(response, bytes_max).await?;
        judge_get(status, body, is_whole)
    }

    /// Made when it is first needed: without the machine's certificates of authorities there is
    /// none, and the agent can do all but this.
    fn client(&self) -> Result<&Client, Failure> {
        let client = self.client.get_or_init(|| {
            Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .http1_only()
                .connect_timeout(CONNECT_PATIENCE)
                .pool_idle_timeout(KEEP_IDLE)
                .tcp_nodelay(true)
                .build()
                .map_err(describe)
        });
        client
            .as_ref()
            .map_err(|error| Failure::Final(format!("failed to set up HTTP: {error}")))
    }
}

fn signed(request: RequestBuilder, how: &Signed) -> RequestBuilder {
    let headers = how.headers.iter();
    headers.fold(request, |request, (name, value)| {
        request.header(name, value)
    })
}

/// Reads a body up to `bytes_max`; tells whether that was all of it.
async fn read(mut response: Response, bytes_max: usize) -> Result<(Vec<u8>, bool), Failure> {
    let announced = response.content_length().unwrap_or_default();
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    let mut body = Vec::with_capacity(announced.min(bytes_max));
    while let Some(more) = response.chunk().await.map_err(lost)? {
        if body.len() + more.len() > bytes_max {
            return Ok((body, false));
        }
        body.extend_from_slice(&more);
    }
    Ok((body, true))
}

/// A request that was lost on the way may work the next time.
fn lost(error: reqwest::Error) -> Failure {
    if error.is_builder() {
        Failure::Final(describe(error))
    } else {
        Failure::Again(describe(error))
    }
}

/// An error with its causes, and without the URL.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    format!("{:#}", anyhow::Error::from(error))
}

//! The little HTTP server of processes that have no API: `/metrics`, `/healthz`, `/readyz`.
//!
//! `/healthz` answers 200 as long as the process can answer at all; `/readyz` answers 200 when the
//! process does its work and 503 with the reason when it does not. There is no authentication:
//! listen on the loopback interface or inside the cluster's network.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::MetricsHandle;

/// Longest time one connection may take, kept-alive requests included.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// Most connections at a time; more wait in the backlog of the socket.
const CONNECTIONS: usize = 32;

/// Pause after a failed `accept`, for example when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address} for metrics and health; is another process there?")]
pub struct StatusError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Whether this process does its work, shared between the one who knows and the one who is asked.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<RwLock<Option<String>>>);

impl Readiness {
    /// Not ready yet, because of `reason`.
    pub fn not_yet(reason: impl Into<String>) -> Self {
        Self(Arc::new(RwLock::new(Some(reason.into()))))
    }

    /// From now on it does its work.
    pub fn set_ready(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From now on it does not, because of `reason`.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }

    /// Why it is not ready; `None` when it is.
    pub fn obstacle(&self) -> Option<String> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The server, bound and not yet answering.
#[derive(Debug)]
pub struct StatusServer {
    listener: TcpListener,
    address: SocketAddr,
    metrics: MetricsHandle,
    readiness: Readiness,
}

impl StatusServer {
    /// Binds `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// [`StatusError`] if the address is taken or not ours.
    pub async fn bind(
        address: SocketAddr,
        metrics: MetricsHandle,
        readiness: Readiness,
    ) -> Result<Self, StatusError> {
        let failed = |source| StatusError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            metrics,
            readiness,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`. Spawn this beside the work of the process.
    pub async fn serve(self, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => {
                    match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(answer_all(stream, self.metrics.clone(), self.readiness.clone()));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "failed to accept a connection for metrics");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        }
    }
}

async fn answer_all(stream: TcpStream, metrics: MetricsHandle, readiness: Readiness) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request, &metrics, &readiness);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics broke off"),
    }
}

fn answer<B>(
    request: &Request<B>,
    metrics: &MetricsHandle,
    readiness: &Readiness,
) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, metrics.render()),
        (&Method::GET, "/healthz") => (StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET, "/readyz") => match readiness.obstacle() {
            None => (StatusCode::OK, "ready\n".to_owned()),
            Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, format!("{obstacle}\n")),
        },
        _ => (
            StatusCode::NOT_FOUND,
            "there is only GET /metrics, /healthz and /readyz\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let text = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

#[cfg(test)]
mod tests;

//! HTTP/1.1 on a port: connections, requests, and their end.

mod body;

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::HttpError;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use shared::secret::Secret;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::disk::Disk;
use crate::s3::Files;
use body::Shared;

/// Longest wait for the head of a request on an open connection: longer than clients keep idle
/// ones (reqwest: 90 seconds), so that none meets a connection that is just being closed.
const HEAD_PATIENCE: Duration = Duration::from_mins(2);

/// Most connections at a time; more wait in the backlog of the socket.
const CONNECTIONS: usize = 1024;

/// Longest time from being told to stop to the end: what is being answered is answered.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Pause after a failed `accept`, for example when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The service, without a port. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ObjectStore {
    disk: Arc<Disk>,
    service: S3Service,
}

impl ObjectStore {
    /// Serves `disk` to whoever signs with these keys.
    pub fn new(disk: Disk, access_key_id: &str, secret_access_key: &Secret) -> Self {
        let disk = Arc::new(disk);
        let mut builder = S3ServiceBuilder::new(Files(Arc::clone(&disk)));
        builder.set_auth(SimpleAuth::from_single(
            access_key_id,
            secret_access_key.expose(),
        ));
        Self {
            disk,
            service: builder.build(),
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// [`HttpError`] if no answer could be made; the connection is broken off then.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<s3s::Body>, HttpError> {
        if is_question_of_health(&request) {
            return Ok(self.health().await);
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let begun = Instant::now();
        let (head, body) = request.into_parts();
        let body = Shared::new(body);
        let request = Request::from_parts(head, s3s::Body::http_body_unsync(body.clone()));
        let response = self.service.call(request).await?;
        // A refused upload is read to its end: closed at once, the client would see a broken
        // connection in place of the refusal.
        if !response.status().is_success() {
            body.drain().await;
        }
        // The query has the signature in it.
        tracing::debug!(
            at = "finish",
            %method,
            path,
            status = response.status().as_u16(),
            elapsed_ms = begun.elapsed().as_secs_f64() * 1000.0,
            "request"
        );
        Ok(response)
    }

    async fn health(&self) -> Response<s3s::Body> {
        let disk = Arc::clone(&self.disk);
        let checked = tokio::task::spawn_blocking(move || disk.check()).await;
        let (status, text) = match checked {
            Ok(Ok(())) => (StatusCode::OK, "ready\n".to_owned()),
            Ok(Err(error)) => (
                StatusCode::SERVICE_UNAVAILABLE,
                shared::telemetry::chain(&error).to_string(),
            ),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
        let mut response = Response::new(s3s::Body::from(text));
        *response.status_mut() = status;
        response
    }
}

/// `/healthz` and `/readyz`, unless they are signed: they are names of buckets, too.
fn is_question_of_health<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && matches!(request.uri().path(), "/healthz" | "/readyz")
        && request.uri().query().is_none()
        && !request.headers().contains_key(http::header::AUTHORIZATION)
}

/// Who answers requests.
pub trait Answers: Clone + Send + Sync + 'static {
    /// Content of an answer.
    type Body: hyper::body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send;
    /// Breaks the connection off.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Answers one request.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Self::Error>> + Send;
}

impl Answers for ObjectStore {
    type Body = s3s::Body;
    type Error = HttpError;

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<s3s::Body>, HttpError> {
        Self::answer(self, request).await
    }
}

/// A port that is listened on.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// If the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `who` answer until `stop`, and finish what it is answering then.
    pub async fn serve<A: Answers>(self, who: A, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        // Ends connections that are still there when patience is over.
        let give_up = CancellationToken::new();
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let answering = answer_all(stream, who.clone(), stop.clone());
                    let give_up = give_up.clone();
                    connections.spawn(async move {
                        give_up.run_until_cancelled(answering).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        connections.close();
        if timeout(END_PATIENCE, connections.wait()).await.is_err() {
            give_up.cancel();
            connections.wait().await;
        }
    }
}

async fn answer_all<A: Answers>(stream: TcpStream, who: A, stop: CancellationToken) {
    // Answers are written whole; nothing is gained by waiting for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection went away at once");
        return;
    }
    let service = service_fn(move |request| {
        let who = who.clone();
        async move { who.answer(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut asked = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = stop.cancelled(), if !asked => {
                asked = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

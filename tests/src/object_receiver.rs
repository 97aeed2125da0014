//! A place that takes objects by signed requests, in memory, and can be told to fail in the ways
//! that stores and networks do.
//!
//! It honours `If-None-Match: *`, and refuses requests without the signature that it gave out.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use shared::agent_api::wal::Signed;
use shared::secret::Secret;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What every signed URL carries; it must be found in no log.
pub const SIGNATURE: &str = "the-secret-signature";

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// How one request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and code of an error.
    Refused(u16, &'static str),
    /// An error is answered as if it were a success.
    ErrorInside200,
    /// It is not answered.
    Hang,
    /// The connection is cut when half of the object was received, or sent.
    CutInTheMiddle,
    /// The object is stored, and the connection cut before the answer.
    CutAfterwards,
}

type Body = BoxBody<Bytes, io::Error>;

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    faults: VecDeque<(Method, Fault)>,
}

/// The receiver. It ends when it is dropped.
#[derive(Debug)]
pub struct ObjectReceiver {
    port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    requests: watch::Sender<u64>,
}

impl ObjectReceiver {
    /// An empty one on a port of its own.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            requests: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            port,
            shared,
            _tasks: tasks,
        })
    }

    /// A request that writes `key` if there is nothing yet.
    pub fn sign_put(&self, key: &str) -> Signed {
        Signed {
            headers: BTreeMap::from([("if-none-match".to_owned(), "*".to_owned())]),
            ..self.sign_get(key)
        }
    }

    /// A request that reads `key`.
    pub fn sign_get(&self, key: &str) -> Signed {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        Signed {
            url: Secret::new(format!("http://{address}/{key}?signature={SIGNATURE}")),
            headers: BTreeMap::new(),
        }
    }

    /// The next requests of this method fail, one for each fault.
    pub fn fail(&self, method: &Method, faults: &[Fault]) {
        let faults = faults.iter().map(|fault| (method.clone(), *fault));
        self.shared.lock().faults.extend(faults);
    }

    /// Faults that no request has met yet.
    pub fn faults_left(&self) -> usize {
        self.shared.lock().faults.len()
    }

    /// Forgets those.
    pub fn heal(&self) {
        self.shared.lock().faults.clear();
    }

    /// All objects, in the order of their names.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.shared.lock().objects.clone()
    }

    /// Puts an object there, as if by somebody else.
    pub fn insert(&self, key: &str, object: impl Into<Bytes>) {
        let mut state = self.shared.lock();
        state.objects.insert(key.to_owned(), object.into());
    }

    /// Removes all objects.
    pub fn clear(&self) {
        self.shared.lock().objects.clear();
    }

    /// Waits until `requests` have come since the start.
    pub async fn until_requested(&self, requests: u64) -> anyhow::Result<()> {
        let mut seen = self.shared.requests.subscribe();
        let enough = timeout(PATIENCE, seen.wait_for(|seen| *seen >= requests)).await;
        ensure!(enough.is_ok(), "{requests} requests have not come");
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_fault(&self, method: &Method) -> Option<Fault> {
        let mut state = self.lock();
        let at = state.faults.iter().position(|(of, _)| of == method)?;
        state.faults.remove(at).map(|(_, fault)| fault)
    }

    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let method = request.method().clone();
        let key = request.uri().path().trim_start_matches('/').to_owned();
        self.requests.send_modify(|seen| *seen += 1);
        if request.uri().query() != Some(&format!("signature={SIGNATURE}")) {
            return Ok(error(403, "SignatureDoesNotMatch"));
        }
        let fault = self.next_fault(&method);
        match fault {
            Some(Fault::Refused(status, code)) => {
                request.into_body().collect().await.ok();
                return Ok(error(status, code));
            }
            Some(Fault::ErrorInside200) => {
                request.into_body().collect().await.ok();
                return Ok(error(200, "InternalError"));
            }
            Some(Fault::Hang) => return std::future::pending().await,
            Some(Fault::CutInTheMiddle | Fault::CutAfterwards) | None => {}
        }
        match method {
            Method::PUT => self.put(&key, request, fault).await,
            Method::GET => Ok(self.get(&key, fault)),
            _ => Ok(error(405, "MethodNotAllowed")),
        }
    }

    async fn put(
        &self,
        key: &str,
        request: Request<Incoming>,
        fault: Option<Fault>,
    ) -> io::Result<Response<Body>> {
        let is_conditional = request
            .headers()
            .get(header::IF_NONE_MATCH)
            .is_some_and(|value| value == "*");
        if !is_conditional {
            return Ok(error(403, "AccessDenied"));
        }
        let mut body = request.into_body();
        if fault == Some(Fault::CutInTheMiddle) {
            body.frame().await;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let content = body.collect().await.map_err(io::Error::other)?.to_bytes();
        {
            let mut state = self.lock();
            if state.objects.contains_key(key) {
                return Ok(error(412, "PreconditionFailed"));
            }
            state.objects.insert(key.to_owned(), content);
        }
        if fault == Some(Fault::CutAfterwards) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(Response::new(whole(Bytes::new())))
    }

    fn get(&self, key: &str, fault: Option<Fault>) -> Response<Body> {
        let Some(object) = self.lock().objects.get(key).cloned() else {
            return error(404, "NoSuchKey");
        };
        if fault != Some(Fault::CutInTheMiddle) {
            return Response::new(whole(object));
        }
        let length = object.len();
        let half = Ok(Frame::data(object.slice(..length / 2)));
        let cut = Err(io::ErrorKind::ConnectionReset.into());
        let body = StreamBody::new(futures::stream::iter([half, cut]));
        let mut response = Response::new(body.boxed());
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
        response
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| shared.answer(request));
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
            tracing::debug!(?served, "a connection ends");
        });
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn error(status: u16, code: &str) -> Response<Body> {
    let text = format!("<Error><Code>{code}</Code><Key>{SIGNATURE}</Key></Error>");
    let mut response = Response::new(whole(text.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response
}

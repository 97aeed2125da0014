//! What goes wrong between a client and the object store, as a test wants it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use object_store::{Answers, ObjectStore, names};
use tokio_util::sync::CancellationToken;

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The answer is this status and code, and nothing is done.
    Answer(u16, &'static str),
    /// It is done, and the connection breaks off before the answer.
    LoseAnswer,
    /// Nothing is answered until [`Faults::clear`].
    Hang,
    /// Half of the content comes, then the connection breaks off.
    TruncateContent,
    /// The answer is 200 with an error inside, and nothing is done.
    ErrorInside200,
    /// The connection breaks off when so many bytes of an upload were read.
    ResetUpload(usize),
    /// A write does what it would do without `If-None-Match`.
    IgnoreConditions,
}

/// Which requests a fault hits.
#[derive(Debug, Clone, Default)]
pub struct On {
    /// Only those with this method.
    pub method: Option<Method>,
    /// Only those whose path has this in it.
    pub path_has: Option<String>,
    /// Only the first so many; null: all.
    pub times: Option<u32>,
}

impl On {
    /// All requests.
    pub fn all() -> Self {
        Self::default()
    }

    /// All with `method`.
    pub fn method(method: Method) -> Self {
        Self {
            method: Some(method),
            ..Self::default()
        }
    }

    /// Only the first `times`.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Only those whose path has `text` in it.
    #[must_use]
    pub fn path_has(mut self, text: &str) -> Self {
        self.path_has = Some(text.to_owned());
        self
    }

    fn hits<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        self.times != Some(0)
            && self
                .method
                .as_ref()
                .is_none_or(|method| method == request.method())
            && self
                .path_has
                .as_ref()
                .is_none_or(|text| path.contains(text))
    }
}

/// What goes wrong. Clones are the same switchboard.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    faults: VecDeque<(Fault, On)>,
    /// Ends what hangs.
    released: CancellationToken,
    seen: Vec<(Method, String)>,
}

impl Faults {
    /// From now on `fault` happens to what `on` says. The first fault that fits a request wins.
    pub fn set(&self, fault: Fault, on: On) {
        self.with(|state| state.faults.push_back((fault, on)));
    }

    /// From now on nothing goes wrong, and what hangs is broken off.
    pub fn clear(&self) {
        self.with(|state| state.faults.clear());
        self.release();
    }

    /// Method and path of every request so far, in the order they came.
    pub fn seen(&self) -> Vec<(Method, String)> {
        self.with(|state| state.seen.clone())
    }

    /// Breaks off what hangs.
    pub(super) fn release(&self) {
        self.with(|state| std::mem::take(&mut state.released).cancel());
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn next<B>(&self, request: &Request<B>) -> (Option<Fault>, CancellationToken) {
        self.with(|state| {
            let path = request.uri().path().to_owned();
            state.seen.push((request.method().clone(), path));
            let released = state.released.clone();
            let hit = state.faults.iter_mut().find(|(_, on)| on.hits(request));
            let fault = hit.map(|(fault, on)| {
                on.times = on.times.map(|times| times.saturating_sub(1));
                fault.clone()
            });
            (fault, released)
        })
    }
}

/// The store with faults before it.
#[derive(Debug, Clone)]
pub(super) struct Switchboard {
    pub(super) store: ObjectStore,
    pub(super) faults: Faults,
    pub(super) root: PathBuf,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxBody = UnsyncBoxBody<Bytes, BoxError>;

impl Answers for Switchboard {
    type Body = BoxBody;
    type Error = BoxError;

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        let (fault, released) = self.faults.next(&request);
        match fault {
            None => self.pass(request).await,
            Some(Fault::Answer(status, code)) => {
                read(request.into_body(), usize::MAX).await?;
                Ok(error(StatusCode::from_u16(status)?, code))
            }
            Some(Fault::ErrorInside200) => {
                read(request.into_body(), usize::MAX).await?;
                Ok(error(StatusCode::OK, "InternalError"))
            }
            Some(Fault::LoseAnswer) => {
                self.pass(request).await?;
                Err("the answer is lost, as the test wants".into())
            }
            Some(Fault::Hang) => {
                released.cancelled().await;
                Err("it hung, as the test wanted".into())
            }
            Some(Fault::ResetUpload(bytes)) => {
                read(request.into_body(), bytes).await?;
                Err("the upload is reset, as the test wants".into())
            }
            Some(Fault::TruncateContent) => halved(self.pass(request).await?).await,
            Some(Fault::IgnoreConditions) => {
                self.make_room(&request);
                self.pass(request).await
            }
        }
    }
}

impl Switchboard {
    async fn pass(&self, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        let response = self.store.answer(request).await.map_err(BoxError::from)?;
        Ok(response.map(http_body_util::BodyExt::boxed_unsync))
    }

    /// The condition is signed: to have it ignored, it is made true.
    fn make_room<B>(&self, request: &Request<B>) {
        let path = request.uri().path().trim_start_matches('/');
        if let (&Method::PUT, Some((bucket, key))) = (request.method(), path.split_once('/')) {
            let bucket = self.root.join("buckets").join(bucket);
            drop(std::fs::remove_file(bucket.join(names::path_of(key))));
        }
    }
}

/// Reads a body up to its end, or to `bytes`.
async fn read(mut body: Incoming, bytes: usize) -> Result<(), BoxError> {
    let mut seen = 0;
    while seen < bytes
        && let Some(frame) = body.frame().await
    {
        seen += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(())
}

fn error(status: StatusCode, code: &str) -> Response<BoxBody> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>as the test \
         wants</Message></Error>"
    );
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}

/// The first half of a content, under the length of all of it.
async fn halved(response: Response<BoxBody>) -> Result<Response<BoxBody>, BoxError> {
    let (head, body) = response.into_parts();
    let content = body.collect().await?.to_bytes();
    let half = content.slice(..content.len() / 2);
    let frames = [
        Ok(Frame::data(half)),
        Err(BoxError::from("cut off, as the test wants")),
    ];
    let body = StreamBody::new(futures::stream::iter(frames));
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

//! The body of a request, kept within reach while somebody else reads it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// Most bytes of a refused upload that are read for the sake of the answer: the largest object of
/// the archive.
const DRAIN_BYTES: usize = 80 * 1024 * 1024;

/// Longest time for it.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// A body that is read through each of its clones.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Mutex<Incoming>>);

impl Shared {
    /// Shares a body.
    pub(super) fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// Reads and drops what is left, within limits. What breaks off is left to the connection.
    pub(super) async fn drain(mut self) {
        let draining = async {
            let mut bytes = 0;
            while bytes < DRAIN_BYTES {
                let next = std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context));
                match next.await {
                    Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len),
                    Some(Err(_)) | None => return,
                }
            }
        };
        // Too slow: the client finds the connection closed.
        drop(timeout(DRAIN_TIME, draining).await);
    }
}

impl Body for Shared {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .size_hint()
    }
}

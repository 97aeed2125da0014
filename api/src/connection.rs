//! One connection of a client. Anything that reads and writes bytes will do, so that TLS can go in
//! between.

use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use warp::Filter as _;

use crate::routes::Routes;
use crate::watch;

/// Longest time the head of a request may take to arrive, and a connection may be idle.
const HEAD_PATIENCE: Duration = Duration::from_mins(1);

/// Answers the requests of one connection until it closes, or until the one under way at `stop` is
/// answered.
pub(crate) async fn serve<IO>(io: IO, routes: Routes, stop: CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let routes = warp::service(routes.boxed());
    let service = service_fn(move |request| watch::answer(routes.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

//! HTTPS with mutual TLS: the contract of `shared::agent_api`.
//!
//! Nobody gets as far as a request without a worker's certificate of our authority. Everything is
//! bounded: connections, the size of a body, the time of a handshake and of a request.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use shared::pki::{CertificateFacts, WORKER_URI_PREFIX, server_config};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::Agent;

mod answer;

/// Most connections at once.
const CONNECTIONS_MAX: usize = 256;

/// Longest time of a TLS handshake, and from a connection to the head of a request.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// Longest time a connection may stay open, so that certificates of clients are checked again.
const CONNECTION_LIFETIME: Duration = Duration::from_hours(1);

/// Serves until `stop`; calls in progress are finished.
pub(crate) async fn serve(
    agent: Arc<Agent>,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let config = server_config(&agent.authority_pem, Arc::clone(&agent.identity))?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tasks = TaskTracker::new();
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await?;
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (agent, acceptor, stop) = (Arc::clone(&agent), acceptor.clone(), stop.clone());
        tasks.spawn(async move {
            let _permit = permit;
            match timeout(HANDSHAKE_PATIENCE, shake_hands(&acceptor, stream)).await {
                Ok(Ok(stream)) => serve_connection(agent, stream, stop).await,
                Ok(Err(error)) => tracing::info!(error = format!("{error:#}"), "client is refused"),
                Err(_) => tracing::info!("client does not finish the handshake"),
            }
        });
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// The verifier has made sure that the certificate is a client's and from our authority; that it
/// is a worker's is checked here.
async fn shake_hands(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> anyhow::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let certificate: CertificateDer<'_> = certificate.cloned().unwrap_or_else(|| vec![].into());
    let facts = CertificateFacts::from_der(certificate.into_owned())?;
    let is_worker = facts
        .uris()
        .iter()
        .any(|uri| uri.starts_with(WORKER_URI_PREFIX));
    anyhow::ensure!(is_worker, "the certificate is not a worker's");
    Ok(stream)
}

async fn serve_connection(
    agent: Arc<Agent>,
    stream: TlsStream<TcpStream>,
    stop: CancellationToken,
) {
    let service = service_fn(move |request| {
        let agent = Arc::clone(&agent);
        async move { Ok::<_, std::convert::Infallible>(answer::answer(&agent, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ending = tokio::select! {
        outcome = &mut connection => Some(outcome),
        () = stop.cancelled() => None,
        () = sleep(CONNECTION_LIFETIME) => None,
    };
    let outcome = if let Some(outcome) = ending {
        outcome
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ends");
    }
}

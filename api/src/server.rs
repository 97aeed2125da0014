//! The server: accepts connections, bounded in number, until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::connection;
use crate::routes::{Routes, routes};

/// Pause after a failed `accept`, for example when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Longest time that requests under way may take after the stop.
const DRAIN_PATIENCE: Duration = Duration::from_secs(20);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to listen on {address}; is another process there? (--listen names another address)"
)]
pub struct ServeError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// The API, bound and not yet answering.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
}

impl Server {
    /// Binds `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// [`ServeError`] if the address is taken or not ours.
    pub async fn bind(address: SocketAddr, app: Arc<App>) -> Result<Self, ServeError> {
        let failed = |source| ServeError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            app,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`; then finishes the requests and the wakes that are under way.
    pub async fn serve(self, stop: CancellationToken) {
        let routes = routes(&self.app);
        let mut connections = JoinSet::new();
        loop {
            let room = connections.len() < self.app.connections_max;
            tokio::select! {
                () = stop.cancelled() => break,
                _ = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if room => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve_one(stream, routes.clone(), stop.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "failed to accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        let drained = async {
            while connections.join_next().await.is_some() {}
            self.app.wakes.finish().await;
        };
        if tokio::time::timeout(DRAIN_PATIENCE, drained).await.is_err() {
            tracing::warn!("requests under way were cut off");
        }
    }
}

async fn serve_one(stream: TcpStream, routes: Routes, stop: CancellationToken) {
    // Answers are small: waiting for more to send would only make them late.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays slow");
    }
    connection::serve(stream, routes, stop).await;
}

//! A TCP relay that a test can close, open again, and slow down: a server that is unreachable for
//! a while, or far away, while its data stays.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// A relay from a port of its own to a server on 127.0.0.1. It ends when it is dropped.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    target: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    /// Listener and links; `None` while closed.
    tasks: Option<JoinSet<()>>,
}

impl TcpProxy {
    /// Opens a relay to `to_port`, without delay.
    pub async fn start(to_port: u16) -> anyhow::Result<Self> {
        let mut proxy = Self {
            port: 0,
            target: SocketAddr::from((Ipv4Addr::LOCALHOST, to_port)),
            delay_ms: Arc::default(),
            tasks: None,
        };
        proxy.open().await?;
        Ok(proxy)
    }

    /// Its own port, always the same.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address for a Redis client.
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Holds every answer back for `delay` from now on.
    pub fn set_delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.delay_ms.store(delay_ms, Ordering::Relaxed);
    }

    /// Breaks every connection and refuses new ones.
    pub async fn close(&mut self) {
        if let Some(mut tasks) = self.tasks.take() {
            tasks.shutdown().await;
        }
    }

    /// Accepts connections (again), always on the same port.
    pub async fn open(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))
            .await
            .with_context(|| format!("listen on port {}", self.port))?;
        self.port = listener.local_addr().context("read the port")?.port();
        let (target, delay_ms) = (self.target, Arc::clone(&self.delay_ms));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                links.spawn(relay(client, target, Arc::clone(&delay_ms)));
            }
        });
        self.tasks = Some(tasks);
        Ok(())
    }
}

/// Copies one connection both ways; each piece of an answer leaves after the delay.
async fn relay(client: TcpStream, target: SocketAddr, delay_ms: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (pieces, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(4096);
    let requests = copy(&mut from_client, &mut to_server);
    let reading = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            let delay = Duration::from_millis(delay_ms.load(Ordering::Relaxed));
            if pieces
                .send((Instant::now() + delay, buffer[..length].to_vec()))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let writing = async {
        while let Some((at, piece)) = waiting.recv().await {
            sleep_until(at).await;
            if to_client.write_all(&piece).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = requests => {}
        () = reading => {}
        () = writing => {}
    }
}

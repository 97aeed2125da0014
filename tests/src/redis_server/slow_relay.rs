//! A Redis that is far away, or busy.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// A TCP relay to a server that holds every answer back for a while: a Redis that is far or busy.
///
/// It runs until the returned guard is dropped.
pub async fn slow_relay(to_port: u16, delay: Duration) -> anyhow::Result<SlowRelay> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, to_port));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut links = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            links.spawn(relay(client, target, delay));
        }
    });
    Ok(SlowRelay {
        port,
        _tasks: tasks,
    })
}

/// A running [`slow_relay`].
#[derive(Debug)]
pub struct SlowRelay {
    /// The port of 127.0.0.1 to connect to in place of the server's.
    pub port: u16,
    _tasks: JoinSet<()>,
}

/// Copies one connection both ways; each piece of an answer leaves `delay` after it came.
async fn relay(client: TcpStream, target: SocketAddr, delay: Duration) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (pieces, mut waiting) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(4096);
    let requests = copy(&mut from_client, &mut to_server);
    let reading = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            let piece = buffer[..length].to_vec();
            if pieces.send((Instant::now() + delay, piece)).await.is_err() {
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

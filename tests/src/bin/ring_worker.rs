//! A worker process for tests that kill and stop it: turns the ring `ring` of the Redis at the
//! first argument, with leases of the second (ms).
//!
//! A turn prints `turn`, waits for a line on stdin, prints whether the lease is `mine` or `lost`,
//! and comes back after an hour. At the end of stdin the worker shuts down.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use shared::ids::WorkerId;
use shared::queue::{Member, Outcome, Queue, QueueConfig, Ring};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use workers::ring::{Handler, Rebuild, RebuildError, RingWorker, Settings, Turn, TurnError};

struct Prompted {
    input: Mutex<mpsc::UnboundedReceiver<String>>,
}

impl Handler for Prompted {
    async fn turn(&self, turn: &Turn) -> Result<Outcome, TurnError> {
        say("turn")?;
        self.input.lock().await.recv().await;
        say(if turn.still_mine() { "mine" } else { "lost" })?;
        Ok(Outcome::Again(Duration::from_hours(1)))
    }
}

fn say(word: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}")?;
    out.flush()
}

/// The ring was built by the test.
struct NoMembers;

impl Rebuild for NoMembers {
    async fn begin_epoch(&self) -> Result<u64, RebuildError> {
        Ok(1)
    }

    async fn page(
        &self,
        _: Ring,
        _: Option<Member>,
        _: usize,
    ) -> Result<Vec<(Member, Duration)>, RebuildError> {
        Ok(Vec::new())
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .context("the first argument is the address of Redis")?;
    let lease_ms = arguments
        .next()
        .context("the second argument is the lease in ms")?
        .parse()?;
    let queue = Queue::connect(QueueConfig::single(url)?.with_shards(4)?).await?;
    let stop = CancellationToken::new();
    let (lines, input) = mpsc::unbounded_channel();
    let end_of_input = stop.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            drop(lines.send(line));
        }
        end_of_input.cancel();
    });
    let worker = RingWorker {
        queue,
        worker: WorkerId::new(),
        settings: Settings {
            rings: vec![Ring::Ring],
            lease: Duration::from_millis(lease_ms),
            poll_cap: Duration::from_millis(50),
            ..Settings::default()
        },
        handler: Arc::new(Prompted {
            input: Mutex::new(input),
        }),
        source: Arc::new(NoMembers),
    };
    worker.run(stop).await?;
    say("stopped")?;
    Ok(())
}

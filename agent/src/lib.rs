//! The agent: one per server, it runs PostgreSQL as it is told and decides nothing.
//!
//! ```text
//!  worker ──PUT──▶ http ──▶ instruct ──▶ store (fsync) ──wake──▶ instance ──▶ PostgreSQL
//!         ◀─GET──  http ◀── status  ◀── board ◀──phase───┘          │
//!                             ▲                                     ├ birth, configuration
//!                             └ disk probe, live sample             └ postmaster, catalog
//! ```
//!
//! Guarantees:
//! - An instruction is durable before anything is done about it, and a lower generation is refused
//!   for ever after.
//! - The instance is level-triggered: it looks at what is there, does the next missing thing, and
//!   looks again. Killed between any two instructions, the next agent goes on from what it sees.
//! - PostgreSQL goes on without an agent, and without a control plane: one that dies is started
//!   again from the stored instruction. After a *machine boot* it is started as leader only when
//!   its generation has been confirmed.
//! - "Stopped" means that no process of the data directory is left.
//! - Nothing here makes an idle PostgreSQL write, and a disk that hangs does not hang the answers.
//!
//! It moves WAL and base backups into the archive, and restores from there, by requests that the
//! worker signed, good for minutes, and holds no credentials but its own certificate.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use shared::clock::SystemClock;
use shared::process::{RunningProcess, StopSignals, exit_code};
use tokio_util::sync::CancellationToken;

mod agent;
mod archive;
mod backup;
mod board;
mod catalog;
mod check;
mod config;
mod disk;
mod durable_file;
mod held;
mod http;
mod instance;
mod instruct;
mod last_lines;
mod live;
mod overriding;
mod paths;
mod quote;
mod render;
mod restore;
mod spec_check;
mod store;
mod transfer;
mod wal;

pub use config::AgentOptions;

/// The whole process: reads its options, serves until SIGTERM or SIGINT, and tells by its exit
/// code whether it could.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == restore::COMMAND)
    {
        return restore::run_command(arguments);
    }
    let outcome = shared::config::parse::<AgentOptions>()
        .map_err(anyhow::Error::from)
        .and_then(run);
    exit_code("ringmaster-agent", "the agent", outcome)
}

/// Waits for the end of process `pid`, which may have come already; for ever without one.
async fn until_ended(pid: Option<u32>) {
    let Some(pid) = pid else {
        return std::future::pending().await;
    };
    if let Ok(process) = RunningProcess::open(pid)
        && let Err(error) = process.ended().await
    {
        tracing::error!(%error, "failed to watch the process we live for");
        std::future::pending::<()>().await;
    }
}

fn run(options: AgentOptions) -> anyhow::Result<()> {
    shared::telemetry::init_logging("agent", &options.log.log)?;
    let provider = rustls::crypto::ring::default_provider();
    if provider.install_default().is_err() {
        tracing::debug!("the TLS provider was installed before");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let served = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut asked_to_stop = StopSignals::listen().context("listen for signals to stop")?;
        let supervisor_ended = until_ended(options.die_with_pid);
        let serving = agent::serve(options, Arc::new(SystemClock), stop.clone());
        tokio::pin!(serving);
        tokio::select! {
            outcome = &mut serving => outcome,
            () = asked_to_stop.received() => {
                stop.cancel();
                serving.await
            }
            () = supervisor_ended => {
                tracing::warn!("the process we live for has ended");
                stop.cancel();
                serving.await
            }
        }
    });
    // A disk that hangs must not keep the process from ending.
    runtime.shutdown_background();
    served
}

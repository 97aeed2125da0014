//! The end of a process of ours: asked for by a signal, told by an exit code.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a process to stop: SIGTERM and SIGINT.
#[derive(Debug)]
pub struct StopSignals([Signal; 2]);

impl StopSignals {
    /// From now on they do not kill us.
    ///
    /// # Errors
    /// If the operating system has no room for another handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ]))
    }

    /// Waits for the first of them since [`StopSignals::listen`].
    pub async fn received(&mut self) {
        let Self([terminate, interrupt]) = self;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// The exit code for how `service` ended; a failure is logged, as that of `who`, and said on
/// standard error.
pub fn exit_code(service: &str, who: &str, outcome: Result<(), impl Display>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "{who} ends");
            complain(service, &error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a process that cannot start must say so also before logging is set up"
)]
fn complain(service: &str, error: &impl Display) {
    eprintln!("{service}: {error:#}");
}

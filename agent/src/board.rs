//! What the status shows of the work: written by the instance, read by every call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use shared::agent_api::Phase;

/// The board itself.
#[derive(Debug)]
pub(crate) struct Board(Mutex<Facts>);

/// What is on it.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) phase: Phase,
    pub(crate) running: Option<Running>,
    /// Why the work in hand does not go on; none when it does.
    pub(crate) problem: Option<String>,
}

/// What is known of the running PostgreSQL without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) version: String,
    pub(crate) system_identifier: String,
    pub(crate) tli: u32,
    /// Size of a WAL segment in bytes.
    pub(crate) wal_segment_bytes: u32,
    /// TCP port, which is part of the socket's name.
    pub(crate) port: u16,
}

impl Board {
    pub(crate) fn showing(phase: Phase) -> Self {
        Self(Mutex::new(Facts {
            phase,
            running: None,
            problem: None,
        }))
    }

    pub(crate) fn facts(&self) -> Facts {
        self.lock().clone()
    }

    /// Shows a phase, and logs it if it is another one than before.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut facts = self.lock();
        if facts.phase != phase {
            tracing::info!(from = ?facts.phase, to = ?phase, "phase changes");
            facts.phase = phase;
        }
    }

    pub(crate) fn show_running(&self, running: Option<Running>) {
        self.lock().running = running;
    }

    /// Shows why the work does not go on, and logs it if that is news.
    pub(crate) fn show_problem(&self, problem: Option<String>) {
        let mut facts = self.lock();
        if facts.problem != problem
            && let Some(problem) = &problem
        {
            tracing::warn!(error = problem, "the work does not go on");
        }
        facts.problem = problem;
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

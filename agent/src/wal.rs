//! Pushing WAL into the archive: `POST /v1/wal/push`.
//!
//! ```text
//!  places ──▶ check ──▶ read pg_wal ──▶ frame ──▶ PUT if absent ──▶ stored
//!               │            │                        │ taken
//!               ▼            ▼                        ▼
//!            refusal      missing             compare ──▶ adopted, conflict
//! ```
//!
//! Guarantees:
//! - Only flushed WAL leaves this machine, and only of the cluster and `tli` that the call names.
//! - Nothing in the archive is ever replaced. What is there already is read and compared with our
//!   own WAL: byte for byte the same, or a conflict.
//! - The answer comes within the time that the call gives, with what was done by then.
//! - The slot moves up to what the call calls safe, and never back.
//!
//! Nothing is remembered between two calls: the next one begins where the worker says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use shared::agent_api::wal::{ANSWER_WITHIN_MAX, Placed, WalPush, WalPushed};
use shared::agent_api::{Refusal, RefusalCode};
use shared::units::Lsn;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::board::Running;
use crate::held::{is_held, is_this_history};
use crate::live::WalState;

mod check;
mod compare;
mod files;
mod placing;

use files::WalFiles;
use placing::{Placing, Want};

/// Most chunks on their way at once, as far as memory allows: enough to fill a fast line to a store
/// that answers slowly.
const CHUNKS_AT_ONCE: usize = 8;

/// Most segments on their way at once, beside the chunks: neither waits for the other.
const SEGMENTS_AT_ONCE: usize = 2;

/// Uploads what is flushed to the places of `push`, and tells what became of each.
///
/// # Errors
/// [`Refusal`] if the call is about something else than what is here; then nothing was changed.
pub(crate) async fn push(agent: &Agent, push: WalPush) -> Result<WalPushed, Refusal> {
    let begun = Instant::now();
    let within = Duration::from_millis(push.answer_within_ms.into());
    let known = agent.store.get();
    let refuse = |code, message| Refusal {
        code,
        message,
        generation: known.generation(),
    };
    if within.is_zero() || within > ANSWER_WITHIN_MAX {
        let message = "answer_within_ms: must be 1 to 60000".to_owned();
        return Err(refuse(RefusalCode::Invalid, message));
    }
    let deadline = begun + within;
    is_held(
        (push.participant, push.generation),
        known.instruction.as_ref().map(|held| &held.spec),
    )
    .map_err(|(code, message)| refuse(code, message))?;
    let silent = |message| refuse(RefusalCode::NotRunning, message);
    let running = agent.board.facts().running;
    let running = running.ok_or_else(|| silent("PostgreSQL does not run".to_owned()))?;
    let sockets = agent.paths.sockets();
    let slots = known
        .instruction
        .as_ref()
        .map_or(&[][..], |held| held.spec.slots.as_slice());
    let wal = agent
        .sampler
        .wal_state((&sockets, &running), slots, deadline)
        .await
        .map_err(|silence| silent(silence.to_string()))?;
    is_this_history((push.system_identifier, push.run), &wal)
        .and_then(|()| check::places(&push, wal.segment_bytes))
        .map_err(|(code, message)| refuse(code, message))?;
    let calling = Calling {
        agent,
        sockets,
        running,
        deadline,
    };
    let slot_restart_lsn = calling.advance_slot(&push, &wal).await;
    let (chunks, segments) = calling.fill(&push, &wal).await;
    Ok(WalPushed {
        flush_lsn: wal.flush_lsn,
        chunks,
        segments,
        slot_restart_lsn,
    })
}

/// One call, once it is accepted.
struct Calling<'a> {
    agent: &'a Agent,
    sockets: PathBuf,
    running: Running,
    deadline: Instant,
}

impl Calling<'_> {
    /// Moves the slot on to what is safe. Gives where it is then; a slot that does not move costs
    /// disk, not WAL, and is tried again by the next call.
    async fn advance_slot(&self, push: &WalPush, wal: &WalState) -> Option<Lsn> {
        let held = wal.slot_restart_lsn?;
        if push.safe_lsn <= held || push.safe_lsn > wal.flush_lsn {
            return Some(held);
        }
        let postgres = (self.sockets.as_path(), &self.running);
        let moved = self
            .agent
            .sampler
            .advance_slot(postgres, push.safe_lsn, self.deadline);
        match moved.await {
            Ok(moved) => Some(moved),
            Err(error) => {
                tracing::warn!(%error, safe_lsn = %push.safe_lsn, "failed to advance the slot");
                Some(held)
            }
        }
    }

    /// Fills the places that flushed WAL reaches: chunks and segments side by side, each in order.
    async fn fill(&self, push: &WalPush, wal: &WalState) -> (Vec<Placed>, Vec<Placed>) {
        let placing = Placing {
            archive: &self.agent.archive,
            timeline: push.timeline,
            run: push.run,
            system_identifier: wal.system_identifier,
            files: Arc::new(WalFiles {
                directory: self.agent.paths.data().join("pg_wal"),
                tli: wal.tli,
                segment_bytes: wal.segment_bytes,
                page_bytes: wal.page_bytes,
            }),
            flush_lsn: wal.flush_lsn,
            calling: self,
        };
        let mut chunks: Vec<BoxFuture<'_, Placed>> = Vec::new();
        for place in &push.chunks {
            if place.start >= wal.flush_lsn {
                break;
            }
            chunks.push(Box::pin(placing.fill(
                place,
                Want::AsMuchAsIsFlushed,
                self.deadline,
            )));
        }
        let mut segments: Vec<BoxFuture<'_, Placed>> = Vec::new();
        for place in &push.segments {
            segments.push(Box::pin(placing.fill(place, Want::AllOfIt, self.deadline)));
        }
        let chunks = stream::iter(chunks).buffered(CHUNKS_AT_ONCE);
        let segments = stream::iter(segments).buffered(SEGMENTS_AT_ONCE);
        tokio::join!(chunks.collect(), segments.collect())
    }

    /// The WAL as it is now; none if PostgreSQL does not tell.
    async fn wal_now(&self) -> Option<WalState> {
        let postgres = (self.sockets.as_path(), &self.running);
        let asked = self.agent.sampler.wal_state(postgres, &[], self.deadline);
        asked.await.ok()
    }
}

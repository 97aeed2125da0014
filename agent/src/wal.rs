//! Pushing WAL into the archive: `POST /v1/wal/push`.
//!
//! ```text
//!  places ──▶ check ──▶ seam ──▶ read pg_wal ──▶ frame ──▶ PUT if absent ──▶ stored
//!               │         │            │                        │ taken
//!               ▼         ▼            ▼                        ▼
//!            refusal   conflict     missing             compare ──▶ adopted, conflict
//! ```
//!
//! Guarantees:
//! - Only flushed WAL leaves this machine, and only of the cluster and `tli` that the call names.
//! - Nothing in the archive is ever replaced. What is there already is read and compared with our
//!   own WAL: byte for byte the same, or a conflict.
//! - The answer comes within the time that the call gives, with what was done by then.
//! - After a start of PostgreSQL or of this agent, nothing is uploaded and the slot does not move
//!   before our WAL was found to go on from what is archived.
//! - One PostgreSQL is asked within a call; if another one answers, nothing of the call counts.
//! - The slot moves up to what the call calls safe, and never back.
//!
//! Between two calls only that seam is remembered: the next call begins where the worker says.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
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
use crate::live::{Silence, WalState};

mod check;
mod compare;
mod files;
mod placing;
mod seam;

use files::WalFiles;
use placing::{Placing, Want};
use seam::Chain;
pub(crate) use seam::Joined;

/// Most chunks on their way at once, as far as memory allows: enough to fill a fast line to a store
/// that answers slowly.
const CHUNKS_AT_ONCE: usize = 8;

/// Most segments on their way at once, beside the chunks: neither waits for the other.
const SEGMENTS_AT_ONCE: usize = 2;

/// Longest wait for PostgreSQL's last word on a call, which may come after the call's time.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Uploads what is flushed to the places of `push`, and tells what became of each.
///
/// # Errors
/// [`Refusal`] if the call is about something else than what is here; then nothing was changed. Or
/// if PostgreSQL became another one meanwhile; then nothing that was uploaded counts.
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
    is_this_history((push.system_identifier, push.run), &wal.writer)
        .and_then(|()| check::places(&push, wal.segment_bytes))
        .map_err(|(code, message)| refuse(code, message))?;
    let calling = Calling {
        agent,
        sockets,
        running,
        deadline,
        wal,
        other: OnceLock::new(),
    };
    let pushed = calling.carry_out(&push).await;
    calling.is_still_the_same(&pushed).await.map_err(|doubt| {
        let code = match doubt {
            Silence::Other(_) => RefusalCode::OtherHistory,
            Silence::Late | Silence::Failed(_) | Silence::Nonsense(_) => RefusalCode::NotRunning,
        };
        refuse(code, format!("nothing of this call counts: {doubt}"))
    })?;
    calling.note_how_far(&push, &pushed);
    Ok(pushed)
}

/// One call, once it is accepted.
struct Calling<'a> {
    agent: &'a Agent,
    sockets: PathBuf,
    running: Running,
    deadline: Instant,
    /// The WAL when the call began.
    wal: WalState,
    /// That another PostgreSQL answered since.
    other: OnceLock<()>,
}

impl Calling<'_> {
    async fn carry_out(&self, push: &WalPush) -> WalPushed {
        let placing = self.placing(push);
        let answer = |chunks, segments, slot_restart_lsn| WalPushed {
            flush_lsn: self.wal.flush_lsn,
            looked_at: Some(self.wal.looked_at),
            chunks,
            segments,
            slot_restart_lsn,
        };
        if let Some(trouble) = self.trouble_at_the_seam(push, &placing).await {
            return answer(vec![trouble], Vec::new(), self.wal.slot_restart_lsn);
        }
        let slot_restart_lsn = self.advance_slot(push).await;
        let (chunks, segments) = self.fill(push, &placing).await;
        answer(chunks, segments, slot_restart_lsn)
    }

    fn placing(&self, push: &WalPush) -> Placing<'_> {
        let wal = &self.wal;
        Placing {
            archive: &self.agent.archive,
            timeline: push.timeline,
            run: push.run,
            system_identifier: wal.writer.system_identifier,
            files: Arc::new(WalFiles {
                directory: self.agent.paths.data().join("pg_wal"),
                system_identifier: wal.writer.system_identifier,
                tli: wal.writer.tli,
                segment_bytes: wal.segment_bytes,
                page_bytes: wal.page_bytes,
            }),
            flush_lsn: wal.flush_lsn,
            calling: self,
        }
    }

    /// Why our WAL must not be joined to what is archived; none if it goes on from there.
    async fn trouble_at_the_seam(&self, push: &WalPush, placing: &Placing<'_>) -> Option<Placed> {
        let seam = push.seam.as_ref()?;
        let chain = self.chain(push);
        if self.agent.joined.reaches(&chain, seam.end) {
            return None;
        }
        match placing.join(seam, self.deadline).await {
            Placed::Adopted { .. } => {
                self.agent.joined.note(chain, seam.end);
                tracing::info!(at = %seam.end, run = %push.run, "WAL goes on from the archive");
                None
            }
            trouble => Some(trouble),
        }
    }

    /// What is in the archive now is what is here: as far as this call reached.
    fn note_how_far(&self, push: &WalPush, pushed: &WalPushed) {
        let chain = self.chain(push);
        let begins_known = push
            .seam
            .as_ref()
            .is_none_or(|seam| self.agent.joined.reaches(&chain, seam.end));
        if let Some(end) = seam::end_of(&push.chunks, &pushed.chunks).filter(|_| begins_known) {
            self.agent.joined.note(chain, end);
        }
    }

    fn chain(&self, push: &WalPush) -> Chain {
        Chain {
            writer: self.wal.writer,
            participant: push.participant,
            timeline: push.timeline,
            run: push.run,
        }
    }

    /// Moves the slot on to what is safe. Gives where it is then; a slot that does not move costs
    /// disk, not WAL, and is tried again by the next call.
    async fn advance_slot(&self, push: &WalPush) -> Option<Lsn> {
        let held = self.wal.slot_restart_lsn?;
        if push.safe_lsn <= held || push.safe_lsn > self.wal.flush_lsn {
            return Some(held);
        }
        let postgres = (self.sockets.as_path(), &self.running);
        let to = (self.wal.writer, push.safe_lsn);
        let moved = self.agent.sampler.advance_slot(postgres, to, self.deadline);
        match moved.await {
            Ok(moved) => Some(moved),
            Err(error) => {
                if matches!(error, Silence::Other(_)) {
                    self.other.get_or_init(|| ());
                }
                tracing::warn!(%error, safe_lsn = %push.safe_lsn, "failed to advance the slot");
                Some(held)
            }
        }
    }

    /// Fills the places that flushed WAL reaches: chunks and segments side by side, each in order.
    async fn fill(&self, push: &WalPush, placing: &Placing<'_>) -> (Vec<Placed>, Vec<Placed>) {
        let mut chunks: Vec<BoxFuture<'_, Placed>> = Vec::new();
        for place in &push.chunks {
            if place.start >= self.wal.flush_lsn {
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

    /// The WAL as it is now, of the PostgreSQL that the call began with.
    async fn wal_now(&self, deadline: Instant) -> Result<WalState, Silence> {
        let begun = self.wal.writer;
        if self.other.get().is_some() {
            return Err(Silence::Other(begun));
        }
        let postgres = (self.sockets.as_path(), &self.running);
        let now = self
            .agent
            .sampler
            .wal_state(postgres, &[], deadline)
            .await?;
        if now.writer != begun {
            tracing::error!(%begun, now = %now.writer, "another PostgreSQL answers");
            self.other.get_or_init(|| ());
            return Err(Silence::Other(begun));
        }
        Ok(now)
    }

    /// Whether PostgreSQL is still the one that the call began with: asked if anything was done that
    /// would count.
    async fn is_still_the_same(&self, pushed: &WalPushed) -> Result<(), Silence> {
        let outcomes = pushed.chunks.iter().chain(&pushed.segments);
        let counts = outcomes.into_iter().any(|placed| match placed {
            Placed::Stored { .. }
            | Placed::Adopted { .. }
            | Placed::Conflict { .. }
            | Placed::Missing => true,
            Placed::Failed { .. } | Placed::Unfinished => false,
        });
        if counts || self.other.get().is_some() {
            self.wal_now(Instant::now() + LAST_WORD).await?;
        }
        Ok(())
    }
}

//! One call to the agent, and what it comes to.

use std::ops::Range;

use shared::agent_api::client::AgentError;
use shared::agent_api::wal::{CHUNK_BYTES_MAX, PLACES_MAX, Placed, WalPush, WalPushed};
use shared::agent_api::{Refusal, RefusalCode};
use shared::archive::chain::{Compaction, Cut, Stop, advance, compacted_after, places};
use shared::archive::store::StoreError;
use shared::db::archive::{Epoch, Position, Progress};
use shared::units::Lsn;

use super::compaction::Plan;
use super::{Came, Slice, seam, told};
use crate::ring::TurnError;

/// Milliseconds after which the agent must answer. Shorter than a lease, which therefore is seldom
/// extended; long enough for a chunk at 2 MB/s.
const ANSWER_WITHIN_MS: u32 = 10_000;

/// Fewest bytes of a chunk, however slow the way to the archive is.
const CHUNK_BYTES_LEAST: u64 = 1 << 20;

/// What a push found out.
pub(super) struct Found {
    /// Where everything stands.
    pub(super) progress: Progress,
    /// Why it went no further.
    pub(super) stop: Stop,
    /// Oldest WAL that the leader holds for the archive.
    pub(super) held_from: Option<Lsn>,
    /// A segment that cannot be put together because the archive has another one.
    pub(super) other_segment: Option<(Lsn, String)>,
    /// What was wrong with the first segment that could not be put together, if that was said.
    pub(super) compaction_trouble: Option<String>,
}

impl Found {
    /// Whether no segment that is to be put together can be another one in the archive: all were
    /// compared, or none is left.
    pub(super) fn proves_segments_alike(&self, epoch: &Epoch) -> bool {
        let to = self.progress.to;
        let is_due = Compaction::is_due(to.compacted, to.watermark, epoch.record.segment_bytes);
        self.other_segment.is_none() && (!is_due || to.compacted > epoch.compacted)
    }
}

impl Slice<'_> {
    /// Pushes what is flushed beyond the watermark of `epoch`.
    pub(super) async fn push(&self, epoch: &Epoch) -> Result<Came, TurnError> {
        let cut = Cut {
            segment_bytes: epoch.record.segment_bytes,
            chunk_bytes_max: chunk_bytes_max(self.row.attempts),
            places_max: PLACES_MAX,
        };
        let chunks = places(epoch.watermark, epoch.flush, &cut);
        let plan = self.plan(epoch).await;
        let order = self.order(epoch, &chunks, &plan.compaction).await?;
        self.context.borders.within().await;
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        let client = self.context.agents.client();
        let request_id = self.row.request_id;
        let answer = match client.push_wal(self.agent, &order, request_id).await {
            Ok(answer) => answer,
            Err(error) => return self.unanswered(error),
        };
        self.context.borders.within().await;
        told::objects(&answer);
        let found = self.found(epoch, &chunks, plan, &answer);
        self.settle(epoch, &found).await
    }

    async fn order(
        &self,
        epoch: &Epoch,
        chunks: &[Range<Lsn>],
        compaction: &Compaction,
    ) -> Result<WalPush, StoreError> {
        let record = &epoch.record;
        let (prefix, run) = (record.prefix(), record.run());
        let segments = compaction.segments();
        Ok(WalPush {
            participant: self.leader.participant,
            generation: self.leader.generation,
            timeline: record.timeline,
            system_identifier: record.system_identifier,
            run,
            seam: self.seam(epoch).await?,
            chunks: self
                .archive
                .places(chunks, |at| prefix.chunk(run, at))
                .await?,
            segments: self
                .archive
                .places(segments, |at| prefix.segment(run, at))
                .await?,
            safe_lsn: seam::safe(epoch, self.compacts(epoch), self.row.room),
            answer_within_ms: ANSWER_WITHIN_MS,
        })
    }

    /// An agent that holds an instruction before or after ours, or whose PostgreSQL is just not
    /// there, is asked again soon; everything else is a failure.
    fn unanswered(&self, error: AgentError) -> Result<Came, TurnError> {
        let Some(refusal) = error.refusal().filter(|refusal| is_passing(refusal)) else {
            told::pushed("failed");
            return Err(error.into());
        };
        tracing::debug!(
            timeline.id = %self.row.timeline, participant.id = %self.leader.participant,
            request_id = %self.row.request_id, detail = refusal.message, "a push was refused",
        );
        told::pushed("refused");
        Ok(Came::Nowhere)
    }

    fn found(&self, epoch: &Epoch, chunks: &[Range<Lsn>], plan: Plan, answer: &WalPushed) -> Found {
        let segment_bytes = epoch.record.segment_bytes;
        let mut advanced = advance(epoch.watermark, segment_bytes, chunks, &answer.chunks);
        if answer.flush_lsn < epoch.watermark {
            let flush = answer.flush_lsn;
            advanced.stop = Stop::Conflict(format!("the leader has flushed only up to {flush}"));
        }
        let mut segments = plan.compaction.segments().zip(&answer.segments);
        let other_segment = segments.find_map(|(segment, placed)| match placed {
            Placed::Conflict { detail } => Some((segment.start, detail.clone())),
            Placed::Stored { .. }
            | Placed::Adopted { .. }
            | Placed::Missing
            | Placed::Failed { .. }
            | Placed::Unfinished => None,
        });
        let watermark = advanced.watermark;
        let compacted = compacted_after(epoch.compacted, &plan.compaction, &answer.segments);
        let retry = self.retry(epoch, &plan, (compacted, watermark), &answer.segments);
        Found {
            progress: Progress {
                to: Position {
                    watermark,
                    tail: advanced.last.or(epoch.tail),
                    compacted,
                },
                retry,
                flush: answer.flush_lsn,
                // Of a leader with other WAL it says nothing about what is archived.
                looked_at: answer.looked_at.filter(|_| advanced.stop == Stop::End),
            },
            stop: advanced.stop,
            held_from: answer.slot_restart_lsn,
            other_segment,
            compaction_trouble: plan.trouble.or_else(|| trouble_of(&answer.segments)),
        }
    }
}

/// Whether an agent that refuses so may be asked again soon: nothing is wrong.
pub(crate) fn is_passing(refusal: &Refusal) -> bool {
    match refusal.code {
        RefusalCode::OldGeneration | RefusalCode::UnknownGeneration | RefusalCode::NotRunning => {
            true
        }
        RefusalCode::GenerationReused
        | RefusalCode::OtherParticipant
        | RefusalCode::OtherHistory
        | RefusalCode::Invalid => false,
    }
}

/// After failed turns chunks are smaller: one that is not uploaded in time must not be tried for
/// ever.
fn chunk_bytes_max(attempts: u32) -> u64 {
    (CHUNK_BYTES_MAX >> attempts.min(10)).max(CHUNK_BYTES_LEAST)
}

/// What is wrong with the first segment that failed, if that was said.
fn trouble_of(segments: &[Placed]) -> Option<String> {
    segments.iter().find_map(|placed| match placed {
        Placed::Conflict { detail } | Placed::Failed { detail } => Some(detail.clone()),
        Placed::Stored { .. } | Placed::Adopted { .. } | Placed::Missing | Placed::Unfinished => {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_get_smaller_with_failures_but_never_tiny() {
        let sizes: Vec<u64> = (0..7).map(|n| chunk_bytes_max(n) >> 20).collect();
        assert_eq!(sizes, [16, 8, 4, 2, 1, 1, 1]);
        assert_eq!(chunk_bytes_max(u32::MAX), CHUNK_BYTES_LEAST);
    }
}

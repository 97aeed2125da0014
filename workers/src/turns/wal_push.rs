//! A turn of a timeline whose WAL is pushed to the archive.
//!
//! One slice of work: the worker signs places from the watermark on, the agent fills what is
//! flushed, the new watermark is recorded by compare-and-set. Whatever dies between upload and
//! record is found there by the next turn and adopted; what the leader has removed since is found by
//! walking along the chain. What is left over is the next slice, so that
//! a busy database never holds a worker for long.

mod begin;
mod compaction;
mod error;
mod push;
mod seam;
mod settle;
mod told;
mod walk;

pub(crate) use push::is_passing;

use std::time::Duration;

use shared::agent_api::client::AgentAddress;
use shared::db::alerts;
use shared::db::archive::{Leader, PushRow, load_push};
use shared::db::jobs::{self, JobKey};
use shared::domain::{JobKind, ParticipantState};
use shared::ids::TimelineId;
use shared::queue::Outcome;
use tokio::time::Instant;

use super::outcome;
use crate::context::{Agents, Archive, Context};
use crate::ring::{Turn, TurnError};

/// Time between two looks at a leader that is not ready to be asked.
const NOT_READY: Duration = Duration::from_secs(2);

/// What a slice works with.
struct Slice<'a> {
    context: &'a Context,
    archive: &'a Archive,
    turn: &'a Turn,
    row: &'a PushRow,
    leader: &'a Leader,
    agent: AgentAddress,
}

/// How far a slice came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// Nothing is left.
    ToTheEnd,
    /// There is more to do at once.
    PartOfTheWay,
    /// The leader cannot be asked yet.
    Nowhere,
    /// Somebody else was quicker, or the lease is gone.
    Overtaken,
}

/// Turns `timeline` once. The job ends when no leader is left; with the next leader it is asked for
/// again.
pub(super) async fn turn(
    context: &Context,
    turn: &Turn,
    timeline: TimelineId,
) -> Result<Outcome, TurnError> {
    let begun = Instant::now();
    let Some(row) = load_push(&context.pool, timeline).await? else {
        return Ok(Outcome::Done);
    };
    let Some(leader) = &row.leader else {
        return end(context, timeline).await;
    };
    let Some(archive) = &context.archive else {
        return Ok(outcome::without_archive(turn));
    };
    let came = match agent_of(leader) {
        None => Came::Nowhere,
        // How its writers are kept apart must be known before anything is written.
        Some(_) if archive.store.capabilities().is_none() => Came::Nowhere,
        Some(agent) => {
            let slice = Slice {
                context,
                archive,
                turn,
                row: &row,
                leader,
                agent,
            };
            slice.carry_out().await?
        }
    };
    let interval = Duration::from_millis(leader.interval_ms);
    Ok(match came {
        Came::ToTheEnd => outcome::again_within(turn, interval.saturating_sub(begun.elapsed())),
        Came::PartOfTheWay => Outcome::Again(Duration::ZERO),
        Came::Nowhere => outcome::again(turn, interval.min(NOT_READY)),
        Came::Overtaken => outcome::overtaken(),
    })
}

/// Where the agent of a leader that serves is reached.
pub(super) fn agent_of(leader: &Leader) -> Option<AgentAddress> {
    let serves = leader.state == ParticipantState::Serving;
    let address = leader.agent.as_ref().filter(|_| serves)?;
    Agents::address(leader.server, address)
}

/// No leader is left: whatever waited will never come, and nobody has to be told any more.
async fn end(context: &Context, timeline: TimelineId) -> Result<Outcome, TurnError> {
    let key = JobKey {
        kind: JobKind::WalPush,
        subject_id: timeline.as_uuid(),
    };
    alerts::clear_all_of(&context.pool, key.subject_id, context.now()).await?;
    jobs::finish(&context.pool, key).await?;
    Ok(Outcome::Done)
}

impl Slice<'_> {
    async fn carry_out(&self) -> Result<Came, TurnError> {
        match &self.row.epoch {
            None => self.begin_epoch().await,
            Some(epoch) if epoch.is_written_by(self.leader.participant) => self.push(epoch).await,
            // A failover is between its steps: the next epoch is not there yet.
            Some(_) => Ok(Came::Nowhere),
        }
    }
}

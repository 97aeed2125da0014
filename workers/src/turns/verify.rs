//! A turn of a timeline that is to be proven: restored on a server of its own, and checked there.
//!
//! ```text
//!  wanted ──plan, place──▶ restoring ──its instance serves──▶ checking ──report──▶ succeeded
//!     │                        │                                 │                    or failed
//!     └────────────────────────┴──────── what forbids it ────────┘
//! ```
//!
//! The instance is a participant like any other: the machines of its server and of itself make it,
//! give it what it reads, and remove it once it shall go. Its role is one that nobody looks for who
//! pushes, backs up or places. The end of a proof is one transaction, with the end of its instance.
//!
//! Whatever takes too long without coming forward fails the proof: nothing waits for ever, and a
//! server that proves nothing is not kept.

mod begin;
mod checking;
mod end;
mod told;

use std::time::Duration;

use chrono::TimeDelta;
use shared::db::archive::{
    Original, ProofRow, RunningProof, TrialInstance, Watched, load_proof, note_look, note_restored,
};
use shared::db::jobs::{self, JobKey};
use shared::domain::{JobKind, ParticipantState, ProofState};
use shared::ids::TimelineId;
use shared::machine::cadence;
use shared::queue::Outcome;

use super::{outcome, since};
use crate::context::{Agents, Archive, Context};
use crate::ring::{Turn, TurnError};

/// Longest time without progress of a restore.
const STALLED_AFTER: TimeDelta = TimeDelta::minutes(20);

/// Longest time without progress of a check: nothing moves while its last tables and indexes are read.
const CHECK_STALLED_AFTER: TimeDelta = TimeDelta::hours(12);

/// Why a proof fails whose server goes.
const GONE: &str = "the server that it was restored on is gone";

/// Time between two looks at a proof that waits for others.
const OTHERS_FIRST: Duration = Duration::from_secs(2);

/// What a turn works with.
struct Proving<'a> {
    context: &'a Context,
    archive: &'a Archive,
    turn: &'a Turn,
    row: &'a ProofRow,
    original: &'a Original,
    proof: &'a RunningProof,
}

/// How far a turn came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// The proof has ended, one way or the other.
    ToTheEnd,
    /// It goes on, and is looked at again after so long.
    Along(Duration),
    /// Somebody else was quicker, or the lease is gone.
    Overtaken,
}

/// Turns `timeline` once. The job ends with the proof.
pub(super) async fn turn(
    context: &Context,
    turn: &Turn,
    timeline: TimelineId,
) -> Result<Outcome, TurnError> {
    let Some(row) = load_proof(&context.pool, timeline).await? else {
        return Ok(Outcome::Done);
    };
    let Some(proof) = &row.proof else {
        let key = JobKey {
            kind: JobKind::Verify,
            subject_id: timeline.as_uuid(),
        };
        jobs::finish(&context.pool, key).await?;
        return Ok(Outcome::Done);
    };
    let Some(archive) = &context.archive else {
        return Ok(outcome::without_archive(turn));
    };
    let came = match &row.original {
        Some(original) => {
            let proving = Proving {
                context,
                archive,
                turn,
                row: &row,
                original,
                proof,
            };
            proving.carry_out().await?
        }
        None => end::without_original(context, turn, (&row, proof)).await?,
    };
    Ok(match came {
        Came::ToTheEnd => Outcome::Done,
        Came::Along(pause) => outcome::again(turn, pause),
        Came::Overtaken => outcome::overtaken(),
    })
}

impl Proving<'_> {
    async fn carry_out(&self) -> Result<Came, TurnError> {
        let (pool, now) = (&self.context.pool, self.context.now());
        if note_look(pool, self.proof.id, now).await? == Watched::NotLately {
            // Nobody looked, so nobody knows whether it came forward.
            return Ok(Came::Along(Duration::ZERO));
        }
        let trial = self.proof.trial.as_ref();
        match (self.proof.state, trial) {
            (ProofState::Wanted, _) => self.begin().await,
            (ProofState::Restoring, Some(trial)) => self.follow(trial).await,
            (ProofState::Checking, Some(trial)) => self.check(trial).await,
            // The control database allows neither.
            (ProofState::Restoring | ProofState::Checking, None)
            | (ProofState::Succeeded | ProofState::Failed, _) => Ok(Came::Overtaken),
        }
    }

    /// Looks how far the restore is.
    async fn follow(&self, trial: &TrialInstance) -> Result<Came, TurnError> {
        if let Some(problem) = &trial.problem {
            return self.fail(problem).await;
        }
        if trial.is_going {
            return self.fail(GONE).await;
        }
        match trial.state {
            ParticipantState::Serving => {
                if !self.turn.still_mine() {
                    return Ok(Came::Overtaken);
                }
                let (pool, now) = (&self.context.pool, self.context.now());
                if note_restored(pool, self.proof.id, now)
                    .await?
                    .is_overtaken()
                {
                    return Ok(Came::Overtaken);
                }
                self.context.borders.within().await;
                Ok(Came::Along(Duration::ZERO))
            }
            ParticipantState::Planned | ParticipantState::Creating | ParticipantState::Down => {
                if self.is_stalled(STALLED_AFTER) {
                    let problem = self
                        .why_stalled(trial, ("its restore", STALLED_AFTER))
                        .await;
                    return self.fail(&problem).await;
                }
                Ok(self.later())
            }
            ParticipantState::Removing | ParticipantState::Removed => self.fail(GONE).await,
        }
    }

    /// Whether nothing of it was seen to come forward for so long.
    fn is_stalled(&self, after: TimeDelta) -> bool {
        self.context.now() - self.proof.moved_at > after
    }

    /// Why nothing moves, as far as its agent can tell.
    async fn why_stalled(&self, trial: &TrialInstance, (what, after): (&str, TimeDelta)) -> String {
        let minutes = after.num_minutes();
        let agent = trial.agent.as_ref();
        let agent = agent.and_then(|agent| Agents::address(trial.server, agent));
        let asked = match agent {
            Some(agent) => self.context.agents.ask(agent, self.proof.request_id).await,
            None => return format!("{what} did not move for {minutes} minutes: it got no server"),
        };
        let told = match asked.status() {
            Some(status) => status.last_error.clone(),
            None => Some("its agent does not answer".to_owned()),
        };
        let why = told.unwrap_or_else(|| "its agent knows no reason".to_owned());
        format!("{what} did not move for {minutes} minutes: {why}")
    }

    /// When to look again: soon at first, because somebody may be waiting.
    fn later(&self) -> Came {
        let from = self.proof.started_at.unwrap_or(self.proof.asked_at);
        Came::Along(cadence::waiting(since(self.context.now(), from)))
    }
}

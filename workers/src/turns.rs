//! What a turn is: load, look, decide, record or do one thing, and say when to come back.
//!
//! A turn takes no input but the id of its member. It loops over the decisions of the machine
//! ([`shared::machine`]) until the machine rests; a write that was overtaken ends it, and the next
//! turn looks again.

mod alerts;
mod base_backup;
mod catch_up;
mod expire;
mod jobs;
mod outcome;
mod resource;
pub(crate) mod rows;
mod server;
mod told;
mod verify;
mod wal_push;

pub(crate) use catch_up::STANDS_AT_MOST;
pub(crate) use resource::{Look, since};
pub(crate) use server::OnServer;
pub(crate) use wal_push::is_passing;

use chrono::{DateTime, TimeDelta, Utc};
use shared::domain::JobKind;
use shared::ids::{ResourceId, ServerId, TimelineId};
use shared::machine::Deadline;
use shared::machine::resource::Driver;
use shared::queue::{MemberKind, Outcome};

use crate::context::Context;
use crate::ring::{Failure, Handler, Turn, TurnError};

/// Turns members of all rings.
pub struct Turns {
    context: Context,
}

impl Turns {
    /// Turns with this context.
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

/// Moment after which somebody is told who waits since `now`; null where waiting is allowed.
pub(crate) fn deadline_at(now: DateTime<Utc>, deadline: Option<Deadline>) -> Option<DateTime<Utc>> {
    let after = TimeDelta::from_std(deadline?.after).ok()?;
    Some(now + after)
}

/// The job that a member stands for; null for members of the ring proper.
pub(crate) fn job_of(kind: MemberKind) -> Option<JobKind> {
    match kind {
        MemberKind::Provision => Some(JobKind::Provision),
        MemberKind::Deprovision => Some(JobKind::Deprovision),
        MemberKind::Recover => Some(JobKind::Recover),
        MemberKind::CatchUp => Some(JobKind::CatchUp),
        MemberKind::WalPush => Some(JobKind::WalPush),
        MemberKind::BaseBackup => Some(JobKind::BaseBackup),
        MemberKind::Expire => Some(JobKind::Expire),
        MemberKind::Verify => Some(JobKind::Verify),
        MemberKind::Resource | MemberKind::Server => None,
    }
}

impl Handler for Turns {
    async fn turn(&self, turn: &Turn) -> Result<Outcome, TurnError> {
        let member = turn.member();
        match job_of(member.kind) {
            Some(JobKind::CatchUp) => {
                let id = ResourceId::from_uuid(member.id);
                catch_up::turn(&self.context, turn, id).await
            }
            Some(JobKind::WalPush) => {
                let timeline = TimelineId::from_uuid(member.id);
                wal_push::turn(&self.context, turn, timeline).await
            }
            Some(JobKind::BaseBackup) => {
                let timeline = TimelineId::from_uuid(member.id);
                base_backup::turn(&self.context, turn, timeline).await
            }
            Some(JobKind::Expire) => {
                let timeline = TimelineId::from_uuid(member.id);
                expire::turn(&self.context, turn, timeline).await
            }
            Some(JobKind::Verify) => {
                let timeline = TimelineId::from_uuid(member.id);
                verify::turn(&self.context, turn, timeline).await
            }
            Some(kind) => jobs::turn(&self.context, turn, kind).await,
            None if member.kind == MemberKind::Server => {
                server::turn(&self.context, turn, ServerId::from_uuid(member.id)).await
            }
            None => {
                let id = ResourceId::from_uuid(member.id);
                let ring = turn.claim().shard.ring;
                if let Some(lap) = self.context.memory.lap(ring, member) {
                    told::lapped(ring, lap);
                }
                resource::turn(&self.context, turn, id, Driver::Ring).await
            }
        }
    }

    async fn failed(&self, turn: &Turn, failure: &Failure) -> Outcome {
        match job_of(turn.member().kind) {
            Some(kind) => jobs::failed(&self.context, turn, kind, failure).await,
            None => outcome::after_failure(turn, failure),
        }
    }
}

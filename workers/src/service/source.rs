//! What belongs into the rings, read from the control database.

use std::time::Duration;

use shared::db::fleet::{resources_alive, servers_alive};
use shared::db::jobs::{self, JobKey};
use shared::db::{DbError, Limit, ring_epochs};
use shared::domain::JobKind;
use shared::ids::{ResourceId, ServerId};
use shared::queue::{Member, MemberKind, Ring};
use sqlx::PgPool;
use uuid::Uuid;

use crate::ring::{Rebuild, RebuildError, spread};

/// The control database as the source of all rings.
#[derive(Debug, Clone)]
pub struct RingSource {
    pool: PgPool,
}

impl RingSource {
    /// Reads from `pool`.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// One page of `ring` behind `after`: at most 1,000 members. Servers come first, then
    /// resources, then jobs; an empty page is the end.
    pub async fn members(
        &self,
        ring: Ring,
        after: Option<Member>,
    ) -> Result<Vec<(Member, Duration)>, DbError> {
        let mut from = after.map_or(Stage::Servers(None), Stage::behind);
        loop {
            let page = self.stage(ring, from).await?;
            if !page.is_empty() {
                return Ok(page);
            }
            let Some(next) = from.next() else {
                return Ok(page);
            };
            from = next;
        }
    }

    async fn stage(&self, ring: Ring, stage: Stage) -> Result<Vec<(Member, Duration)>, DbError> {
        match (stage, ring) {
            (Stage::Servers(after), Ring::Ring) => {
                let ids = servers_alive(&self.pool, after).await?;
                // At once: what is wrong with a server must not wait for a lap.
                Ok(ids
                    .into_iter()
                    .map(|id| (server(id), Duration::ZERO))
                    .collect())
            }
            (Stage::Resources(after), Ring::Ring | Ring::Urgent) => {
                let alive = resources_alive(&self.pool, ring == Ring::Urgent, after).await?;
                Ok(alive.into_iter().map(resource).collect())
            }
            (Stage::Jobs(after), Ring::Jobs | Ring::Urgent | Ring::Archive) => {
                let page = jobs::pending(&self.pool, &kinds_in(ring), after, Limit::most()).await?;
                let member = |key: JobKey| Member::of_job(key.kind, key.subject_id).1;
                let members = page.items.into_iter().map(member);
                Ok(members.map(|member| (member, Duration::ZERO)).collect())
            }
            (Stage::Servers(_) | Stage::Resources(_) | Stage::Jobs(_), _) => Ok(Vec::new()),
        }
    }
}

/// Where in the list of members a page begins.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Servers(Option<ServerId>),
    Resources(Option<ResourceId>),
    Jobs(Option<JobKey>),
}

impl Stage {
    fn behind(member: Member) -> Self {
        let job = |kind| {
            Self::Jobs(Some(JobKey {
                kind,
                subject_id: member.id,
            }))
        };
        match member.kind {
            MemberKind::Server => Self::Servers(Some(ServerId::from_uuid(member.id))),
            MemberKind::Resource => Self::Resources(Some(ResourceId::from_uuid(member.id))),
            MemberKind::Provision => job(JobKind::Provision),
            MemberKind::Deprovision => job(JobKind::Deprovision),
            MemberKind::Recover => job(JobKind::Recover),
            MemberKind::CatchUp => job(JobKind::CatchUp),
            MemberKind::WalPush => job(JobKind::WalPush),
            MemberKind::BaseBackup => job(JobKind::BaseBackup),
            MemberKind::Expire => job(JobKind::Expire),
            MemberKind::Verify => job(JobKind::Verify),
        }
    }

    fn next(self) -> Option<Self> {
        match self {
            Self::Servers(_) => Some(Self::Resources(None)),
            Self::Resources(_) => Some(Self::Jobs(None)),
            Self::Jobs(_) => None,
        }
    }
}

/// Kinds of jobs whose members are in `ring`.
fn kinds_in(ring: Ring) -> Vec<JobKind> {
    let kinds = JobKind::ALL.iter().copied();
    kinds
        .filter(|kind| Member::of_job(*kind, Uuid::nil()).0 == ring)
        .collect()
}

fn server(id: ServerId) -> Member {
    Member {
        kind: MemberKind::Server,
        id: id.as_uuid(),
    }
}

/// Spread over one cadence, so that a rebuilt ring does not turn everything at once.
fn resource((id, cadence_ms): (ResourceId, u64)) -> (Member, Duration) {
    let member = Member {
        kind: MemberKind::Resource,
        id: id.as_uuid(),
    };
    let (high, low) = member.id.as_u64_pair();
    (
        member,
        spread(Duration::from_millis(cadence_ms), high ^ low),
    )
}

impl Rebuild for RingSource {
    async fn begin_epoch(&self) -> Result<u64, RebuildError> {
        ring_epochs::next(&self.pool)
            .await
            .map_err(|error| RebuildError::Source(Box::new(error)))
    }

    async fn page(
        &self,
        ring: Ring,
        after: Option<Member>,
        _limit: usize,
    ) -> Result<Vec<(Member, Duration)>, RebuildError> {
        self.members(ring, after)
            .await
            .map_err(|error| RebuildError::Source(Box::new(error)))
    }
}

//! Rows of forks: what a resource that begins as a copy waits for.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::Recorded;
use crate::archive::plan::Target;
use crate::db::DbError;
use crate::ids::{RequestId, ResourceId, RestoreId, ServerId, TimelineId};
use crate::ports::Address;
use crate::units::Lsn;

/// Where a copy stands that is not yet there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForkView {
    /// What it is restored from is to be found.
    Wanted,
    /// It is known what it is restored from.
    Planned(RestoreId),
    /// It is known what is restored hidden, and its database was not brought over yet.
    Donated(RestoreId),
    /// It will not be restored: why.
    Refused(String),
}

impl ForkView {
    /// From stored columns.
    pub(super) fn of(
        restore: Option<RestoreId>,
        is_donated: bool,
        problem: Option<String>,
    ) -> Self {
        match (problem, restore) {
            (Some(problem), _) => Self::Refused(problem),
            (None, Some(restore)) if is_donated => Self::Donated(restore),
            (None, Some(restore)) => Self::Planned(restore),
            (None, None) => Self::Wanted,
        }
    }
}

/// A copy whose source is to be found.
#[derive(Debug, Clone)]
pub struct ForkRow {
    /// The copy.
    pub resource: ResourceId,
    /// Timeline that is copied.
    pub timeline: TimelineId,
    /// As of when.
    pub target: Target,
    /// Whether it goes on with what the original writes: the target is the end.
    pub follows: bool,
    /// Whether one database is taken out of what is restored, which is on a server of this plan; null
    /// if what is restored is the copy.
    pub donor_plan: Option<String>,
    /// Position and moment: everything committed before the moment is in WAL before the position.
    /// Null before that is known.
    pub end: Option<(Lsn, DateTime<Utc>)>,
    /// Moment the original was first asked in vain how far it is; null while it answers.
    pub silent_since: Option<DateTime<Utc>>,
    /// Database and owner of the original.
    pub original: Names,
    /// Database and owner of the copy.
    pub copy: Names,
    /// The leader that is copied; null if none lives any more.
    pub leader: Option<(ServerId, Option<Address>)>,
    /// Major version of PostgreSQL of whatever was on the timeline last.
    pub postgres_major: u16,
    /// Request that asked.
    pub request_id: RequestId,
}

/// What belongs to a resource in its PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Its database.
    pub database: String,
    /// Owner of the database.
    pub role: String,
}

/// The fork that resource `id` is; null if it is none, or is on its way out.
pub async fn load_fork(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Option<ForkRow>, DbError> {
    let row = sqlx::query!(
        r#"
        select
            forks.parent_timeline_id as "timeline: TimelineId",
            forks.target_lsn,
            forks.target_at,
            forks.follows,
            case when forks.by_transfer then parents.plan end as donor_plan,
            forks.end_lsn,
            forks.end_at,
            forks.silent_since,
            resources.database_name,
            resources.role_name,
            resources.request_id as "request_id: RequestId",
            parents.database_name as parent_database_name,
            parents.role_name as parent_role_name,
            leaders.server_id as "server?: ServerId",
            servers.host,
            servers.agent_port,
            (
                select participants.postgres_major
                from participants
                where participants.timeline_id = forks.parent_timeline_id
                order by participants.id desc
                limit 1
            ) as "postgres_major!"
        from forks
        join resources on resources.id = forks.resource_id
        join resources as parents on parents.id = forks.parent_resource_id
        left join participants as leaders
            on leaders.timeline_id = forks.parent_timeline_id
            and leaders.role = 'leader'
            and leaders.state <> 'removed'
        left join servers on servers.id = leaders.server_id
        where forks.resource_id = $1 and resources.state = 'creating'
        "#,
        id.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("load a fork"))?;
    Ok(row.map(|row| ForkRow {
        resource: id,
        timeline: row.timeline,
        target: target(row.target_lsn, row.target_at),
        follows: row.follows,
        donor_plan: row.donor_plan,
        end: row.end_lsn.map(position).zip(row.end_at),
        silent_since: row.silent_since,
        original: Names {
            database: row.parent_database_name,
            role: row.parent_role_name,
        },
        copy: Names {
            database: row.database_name,
            role: row.role_name,
        },
        leader: row.server.map(|server| {
            let port = row.agent_port.and_then(|port| u16::try_from(port).ok());
            let agent = row.host.zip(port);
            (server, agent.map(|(host, port)| Address { host, port }))
        }),
        postgres_major: u16::try_from(row.postgres_major).unwrap_or(0),
        request_id: row.request_id,
    }))
}

fn target(lsn: Option<i64>, at: Option<DateTime<Utc>>) -> Target {
    match (lsn, at) {
        (Some(lsn), _) => Target::Lsn { lsn: position(lsn) },
        (None, Some(at)) => Target::Time { at },
        (None, None) => Target::End,
    }
}

fn position(stored: i64) -> Lsn {
    Lsn::from_bytes(stored.unsigned_abs())
}

/// Notes that the original was asked in vain; the first note stays until it answers.
pub async fn note_silence_of_original(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
    since: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update forks
        set silent_since = $2
        where resource_id = $1 and end_lsn is null and silent_since is null
        "#,
        id.as_uuid(),
        since,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note that an original is silent"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Notes up to where WAL must be in the archive before the copy is planned, if it is still noted as
/// `before`.
pub async fn note_end_of_fork(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
    before: Option<Lsn>,
    (lsn, at): (Lsn, DateTime<Utc>),
) -> Result<Recorded, DbError> {
    let stored = |lsn: Lsn| i64::try_from(lsn.bytes()).unwrap_or(i64::MAX);
    let done = sqlx::query!(
        r#"
        update forks
        set end_lsn = $2, end_at = $3, silent_since = null
        where resource_id = $1 and end_lsn is not distinct from $4 and restore_id is null
        "#,
        id.as_uuid(),
        stored(lsn),
        at,
        before.map(stored),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note the end of what is copied"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Notes what the copy is restored from; the first note stays.
pub async fn note_source_of_fork(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
    restore: RestoreId,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update forks
        set restore_id = $2
        where resource_id = $1 and restore_id is null and problem is null
        "#,
        id.as_uuid(),
        restore.as_uuid(),
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note what a fork is restored from"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// Notes why the copy cannot be made.
pub async fn refuse_fork(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
    problem: &str,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update forks
        set problem = $2
        where resource_id = $1 and restore_id is null and problem is null
        "#,
        id.as_uuid(),
        problem,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note why a fork is not made"))?;
    Ok(Recorded::of(done.rows_affected()))
}

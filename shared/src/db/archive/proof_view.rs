//! Proofs of a resource, for people.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::lsn;
use crate::db::DbError;
use crate::domain::ProofState;
use crate::ids::{ProofId, ResourceId};
use crate::units::Lsn;

/// A proof that what a resource is on can be restored, or the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The proof.
    pub id: ProofId,
    /// Where it stands.
    pub state: ProofState,
    /// Moment it was asked for.
    pub asked_at: DateTime<Utc>,
    /// Moment it began; null before.
    pub started_at: Option<DateTime<Utc>>,
    /// Moment it ended; null before.
    pub finished_at: Option<DateTime<Utc>>,
    /// End of the last record that was replayed; null unless it succeeded.
    pub lsn: Option<Lsn>,
    /// Everything that was committed before this moment was to be there; null before it began.
    pub until: Option<DateTime<Utc>>,
    /// Bytes of files that are in place.
    pub bytes_done: u64,
    /// Bytes of all files; 0 before that is known.
    pub bytes_total: u64,
    /// WAL is replayed about up to here; null before that began.
    pub replay_lsn: Option<Lsn>,
    /// Tables and indexes that were checked.
    pub relations_done: u64,
    /// Tables and indexes that are to be checked; 0 before that is known.
    pub relations_total: u64,
    /// Why it failed; null otherwise.
    pub problem: Option<String>,
}

/// The newest proof of what `resource` is on, and the newest that succeeded, which may be the same;
/// at most these two, newest first.
pub async fn proofs_of(
    ex: impl PgExecutor<'_>,
    resource: ResourceId,
) -> Result<Vec<Proof>, DbError> {
    let rows = sqlx::query!(
        r#"
        with own as (
            select proofs.*
            from resources
            join participants on participants.id = resources.participant_id
            join proofs on proofs.timeline_id = participants.timeline_id
            where resources.id = $1
        ),
        newest as (
            (select id from own order by id desc limit 1)
            union
            (select id from own where state = 'succeeded' order by id desc limit 1)
        )
        select
            own.id as "id!: ProofId",
            own.state as "state!: ProofState",
            own.asked_at as "asked_at!",
            own.started_at,
            own.finished_at,
            own.proven_lsn,
            own.proven_until,
            restores.bytes_done as "bytes_done?",
            restores.bytes_total as "bytes_total?",
            restores.replay_lsn,
            own.relations_done as "relations_done!",
            own.relations_total as "relations_total!",
            own.problem
        from newest
        join own on own.id = newest.id
        left join restores on restores.id = own.restore_id
        order by own.id desc
        "#,
        resource.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("read the proofs of a resource"))?;
    let count = |number: Option<i64>| number.map_or(0, i64::unsigned_abs);
    let proofs = rows.into_iter().map(|row| Proof {
        id: row.id,
        state: row.state,
        asked_at: row.asked_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        lsn: row.proven_lsn.map(lsn),
        until: row.proven_until,
        bytes_done: count(row.bytes_done),
        bytes_total: count(row.bytes_total),
        replay_lsn: row.replay_lsn.map(lsn),
        relations_done: row.relations_done.unsigned_abs(),
        relations_total: row.relations_total.unsigned_abs(),
        problem: row.problem,
    });
    Ok(proofs.collect())
}

//! Rows of proofs: restores that are made to be checked.
//!
//! A proof ends in one transaction with everything that waits for it: its instance, its job, the
//! requests and the alerts. Whoever asks meanwhile locks the row, and is seen or comes after.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::{NewRestore, hold_restore, stored};
use crate::db::{
    DbError,
    fleet::{Hidden, NewPlacement, Recorded, place_hidden},
};
use crate::domain::{ParticipantRole, ProofReason};
use crate::ids::{ProofId, RequestId, TimelineId};
use crate::units::Lsn;

/// A proof to ask for.
#[derive(Debug, Clone, Copy)]
pub struct NewProof {
    /// Id it gets.
    pub id: ProofId,
    /// Timeline that is to be proven.
    pub timeline: TimelineId,
    /// Why.
    pub reason: ProofReason,
    /// Request it belongs to.
    pub request_id: RequestId,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Asks for a proof, unless one of the timeline is under way. Tells whether it is new.
pub async fn ask_for_proof(ex: impl PgExecutor<'_>, new: &NewProof) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"
        with new_proof as (
            insert into proofs (id, timeline_id, reason, request_id, asked_at, moved_at)
            values ($1, $2, $3, $4, $5, $5)
            on conflict (timeline_id) where state in ('wanted', 'restoring', 'checking') do nothing
            returning timeline_id
        ),
        new_job as (
            insert into jobs (kind, subject_id, request_id, created_at, changed_at)
            select 'verify', timeline_id, $4, $5, $5
            from new_proof
            on conflict (kind, subject_id) do nothing
        )
        select exists (select from new_proof) as "is_new!"
        "#,
        new.id.as_uuid(),
        new.timeline.as_uuid(),
        new.reason.as_str(),
        new.request_id.as_uuid(),
        new.now,
    )
    .fetch_one(ex)
    .await
    .map_err(DbError::during("ask for a proof"))
}

/// A proof that is planned: what is restored, and where.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// The proof.
    pub proof: ProofId,
    /// Plan of the server that it is restored on.
    pub plan: &'a str,
    /// What is restored.
    pub restore: &'a NewRestore<'a>,
    /// The server and the instance.
    pub place: &'a NewPlacement,
    /// Most proofs under way at the same time, this one included.
    pub at_once: u32,
}

/// How the beginning of a proof ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "only one that has begun is to be committed"]
pub enum Begun {
    /// It has begun.
    Yes,
    /// As many as may be are under way.
    Full,
    /// Somebody else was quicker, or what it needs is not kept any more.
    Overtaken,
}

/// Begins a proof: its restore is held, and its instance and server are there to be made. The caller
/// owns the transaction, and rolls it back unless it has begun.
pub async fn begin_proof(conn: &mut PgConnection, trial: &Trial<'_>) -> Result<Begun, DbError> {
    let failed = DbError::during("begin a proof");
    // Those that begin take turns, so that none sees fewer than there are.
    sqlx::query!("select pg_advisory_xact_lock(hashtext('proofs under way'))")
        .execute(&mut *conn)
        .await
        .map_err(failed)?;
    let under_way = sqlx::query_scalar!(
        r#"select count(*) as "count!" from proofs where state in ('restoring', 'checking')"#
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(failed)?;
    if under_way >= i64::from(trial.at_once) {
        return Ok(Begun::Full);
    }
    if hold_restore(conn, trial.restore).await?.is_overtaken() {
        return Ok(Begun::Overtaken);
    }
    let hidden = Hidden {
        role: ParticipantRole::Proof,
        plan: trial.plan,
        restore: trial.restore,
        place: trial.place,
    };
    place_hidden(conn, &hidden).await?;
    let begun = sqlx::query!(
        r#"
        update proofs
        set
            state = 'restoring',
            restore_id = $2,
            participant_id = $3,
            proven_until = $4,
            started_at = $5,
            moved_at = $5
        where id = $1 and state = 'wanted'
        "#,
        trial.proof.as_uuid(),
        trial.restore.id.as_uuid(),
        trial.place.participant.as_uuid(),
        trial.restore.source.complete_until,
        trial.place.at,
    )
    .execute(conn)
    .await
    .map_err(failed)?;
    Ok(if Recorded::of(begun.rows_affected()).is_overtaken() {
        Begun::Overtaken
    } else {
        Begun::Yes
    })
}

/// Notes that a proof is restored, and is checked from now on.
pub async fn note_restored(
    ex: impl PgExecutor<'_>,
    proof: ProofId,
    now: DateTime<Utc>,
) -> Result<Recorded, DbError> {
    let done = sqlx::query!(
        r#"
        update proofs
        set state = 'checking', moved_at = $2
        where id = $1 and state = 'restoring'
        "#,
        proof.as_uuid(),
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note that a proof is restored"))?;
    Ok(Recorded::of(done.rows_affected()))
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckProgress {
    /// Tables and indexes that were checked.
    pub relations_done: u64,
    /// Tables and indexes that are to be checked; 0 before that is known.
    pub relations_total: u64,
    /// Pages of them that were checked.
    pub pages_done: u64,
}

/// Whether somebody has looked at a proof all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Within the last minutes.
    Lately,
    /// Not so: what did not come forward may have done so, and has its time again.
    NotLately,
}

/// Notes that somebody looks at a proof.
pub async fn note_look(
    ex: impl PgExecutor<'_>,
    proof: ProofId,
    now: DateTime<Utc>,
) -> Result<Watched, DbError> {
    let was_away = sqlx::query_scalar!(
        r#"
        with before as (
            select
                id,
                coalesce($2::timestamptz - looked_at > interval '2 minutes', false) as was_away
            from proofs
            where id = $1
        )
        update proofs
        set looked_at = $2, moved_at = case when before.was_away then $2 else moved_at end
        from before
        where
            proofs.id = before.id
            and (before.was_away or looked_at is null or $2 - looked_at > interval '20 seconds')
        returning before.was_away as "was_away!"
        "#,
        proof.as_uuid(),
        now,
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("note a look at a proof"))?;
    Ok(if was_away == Some(true) {
        Watched::NotLately
    } else {
        Watched::Lately
    })
}

/// Stores how far the check of a proof is.
pub async fn note_checked(
    ex: impl PgExecutor<'_>,
    proof: ProofId,
    progress: CheckProgress,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query!(
        r#"
        update proofs
        set relations_done = $2, relations_total = $3, pages_done = $4, moved_at = $5
        where
            id = $1
            and state = 'checking'
            and (relations_done, relations_total, pages_done) is distinct from ($2, $3, $4)
        "#,
        proof.as_uuid(),
        number(progress.relations_done),
        number(progress.relations_total),
        number(progress.pages_done),
        now,
    )
    .execute(ex)
    .await
    .map_err(DbError::during("note how far a check is"))?;
    Ok(())
}

/// How a proof ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// The proof.
    pub proof: ProofId,
    /// Its timeline.
    pub timeline: TimelineId,
    /// End of the last record that was replayed; or why it failed, for people.
    pub result: Result<Lsn, &'a str>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Ends a proof, asks for the end of its instance, answers those who asked, and ends its job. The
/// caller owns the transaction, and rolls it back if it was overtaken.
pub async fn end_proof(conn: &mut PgConnection, ended: &Ended<'_>) -> Result<Recorded, DbError> {
    let failed = DbError::during("end a proof");
    let (lsn, problem) = match ended.result {
        Ok(lsn) => (Some(stored(lsn)), None),
        Err(problem) => (None, Some(problem)),
    };
    // First of all, and by itself: who asked before has been seen by the statements that follow.
    let done = sqlx::query!(
        r#"
        update proofs
        set
            state = case when $2::text is null then 'succeeded' else 'failed' end,
            problem = left($2, 4000),
            proven_lsn = $3,
            finished_at = $4
        where id = $1 and state in ('wanted', 'restoring', 'checking')
        "#,
        ended.proof.as_uuid(),
        problem,
        lsn,
        ended.now,
    )
    .execute(&mut *conn)
    .await
    .map_err(failed)?;
    let recorded = Recorded::of(done.rows_affected());
    if recorded.is_overtaken() {
        return Ok(recorded);
    }
    sqlx::query!(
        r#"
        with instance as (
            update participants
            set destroy_requested_at = $4, version = version + 1
            where
                id = (select participant_id from proofs where proofs.id = $1)
                and destroy_requested_at is null
        ),
        job as (
            delete from jobs
            where kind = 'verify' and subject_id = $2
        )
        update operations
        set
            state = case when $3::text is null then 'succeeded' else 'failed' end,
            error = left($3, 2000),
            finished_at = $4
        where
            kind = 'restore_check'
            and state = 'pending'
            and resource_id in (
                select resources.id
                from resources
                join participants on participants.id = resources.participant_id
                where participants.timeline_id = $2
            )
        "#,
        ended.proof.as_uuid(),
        ended.timeline.as_uuid(),
        problem,
        ended.now,
    )
    .execute(conn)
    .await
    .map_err(failed)?;
    Ok(recorded)
}

//! Followers that a backup may be taken from, so that the leader is not burdened by it.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::lsn;
use crate::archive::layout::Run;
use crate::db::DbError;
use crate::ids::{BackupId, ParticipantId, ServerId, TimelineId};
use crate::ports::Address;
use crate::units::Lsn;

/// A follower that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerToRead {
    /// The participant.
    pub participant: ParticipantId,
    /// Number of its newest instruction.
    pub generation: u64,
    /// Its server.
    pub server: ServerId,
    /// Where its agent is reached; null before that is known.
    pub agent: Option<Address>,
}

/// Followers on `timeline` that may be backed up, at most three.
///
/// They serve, stay what they are, and have replayed what their leader had at `recently`; those that
/// were not behind at all come first. How far they are at this moment, their agents say.
///
/// None may while nobody can say that followers have what their leader has: after a proof that failed,
/// and if no sound backup of the leader itself is younger than half the plan's retention, for of its
/// followers all may be wrong.
pub async fn followers_to_back_up(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
    (recently, now): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Vec<FollowerToRead>, DbError> {
    let rows = sqlx::query_as!(
        Columns,
        r#"
        select
            participants.id as "participant: ParticipantId",
            participants.generation,
            participants.server_id as "server: ServerId",
            servers.host,
            servers.agent_port
        from participants
        join servers on servers.id = participants.server_id
        join resources on resources.participant_id = participants.id
        join forks on forks.resource_id = resources.id
        where
            participants.timeline_id = $1
            and participants.role = 'follower'
            and participants.state = 'serving'
            and participants.destroy_requested_at is null
            and resources.destroy_requested_at is null
            and forks.follows
            and forks.unfollow_requested_at is null
            and forks.replacement_id is null
            and forks.replaced_id is null
            and (forks.behind_since is null or forks.behind_since >= $2)
            and (
                select proofs.state
                from proofs
                where proofs.timeline_id = $1 and proofs.finished_at is not null
                order by proofs.id desc
                limit 1
            ) is distinct from 'failed'
            and exists (
                select
                from backups
                join epochs
                    on epochs.timeline_id = backups.timeline_id
                    and epochs.number = backups.epoch_number
                    and epochs.participant_id = backups.participant_id
                join participants as leaders on leaders.id = backups.participant_id
                join servers as own on own.id = leaders.server_id
                join plans on plans.name = own.plan
                where
                    backups.timeline_id = $1
                    and backups.state = 'finished'
                    and backups.damaged_pages = 0
                    and backups.started_at
                        > $3::timestamptz - plans.retention_s * interval '0.5 second'
            )
        order by forks.behind_since desc nulls first, participants.id
        limit 3
        "#,
        timeline.as_uuid(),
        recently,
        now,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list followers that may be backed up"))?;
    Ok(rows.into_iter().map(FollowerToRead::from).collect())
}

/// The follower that the running `backup` is taken from; null if that serves no more, or follows no
/// more, or if it is a leader.
pub async fn follower_of_backup(
    ex: impl PgExecutor<'_>,
    backup: BackupId,
) -> Result<Option<FollowerToRead>, DbError> {
    let row = sqlx::query_as!(
        Columns,
        r#"
        select
            participants.id as "participant: ParticipantId",
            participants.generation,
            participants.server_id as "server: ServerId",
            servers.host,
            servers.agent_port
        from backups
        join participants
            on participants.id = backups.participant_id
            and participants.timeline_id = backups.timeline_id
        join servers on servers.id = participants.server_id
        where
            backups.id = $1
            and backups.state = 'running'
            and participants.role = 'follower'
            and participants.state = 'serving'
            and participants.destroy_requested_at is null
        "#,
        backup.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("read which follower a backup is of"))?;
    Ok(row.map(FollowerToRead::from))
}

struct Columns {
    participant: ParticipantId,
    generation: i64,
    server: ServerId,
    host: Option<String>,
    agent_port: Option<i32>,
}

impl From<Columns> for FollowerToRead {
    fn from(row: Columns) -> Self {
        let port = row.agent_port.and_then(|port| u16::try_from(port).ok());
        Self {
            participant: row.participant,
            generation: row.generation.unsigned_abs(),
            server: row.server,
            agent: row
                .host
                .zip(port)
                .map(|(host, port)| Address { host, port }),
        }
    }
}

/// The newest finished backup of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewestOfRun {
    /// Replay begins here: WAL from here on stays in the archive, because the newest one is kept.
    pub start_lsn: Lsn,
    /// It is consistent from here on.
    pub stop_lsn: Lsn,
}

/// The newest finished backup of `timeline`, if it was made in `run`.
pub async fn newest_of_run(
    ex: impl PgExecutor<'_>,
    timeline: TimelineId,
    run: Run,
) -> Result<Option<NewestOfRun>, DbError> {
    let row = sqlx::query!(
        r#"
        select start_lsn as "start_lsn!", stop_lsn as "stop_lsn!"
        from newest_backups
        where timeline_id = $1 and epoch_number = $2
        "#,
        timeline.as_uuid(),
        i32::try_from(run.epoch).unwrap_or(i32::MAX),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("read the newest backup of a run"))?;
    Ok(row.map(|row| NewestOfRun {
        start_lsn: lsn(row.start_lsn),
        stop_lsn: lsn(row.stop_lsn),
    }))
}

//! What tells whether a follower can still go where its leader goes.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::DbError;
use crate::ids::{ParticipantId, ResourceId, ServerId};
use crate::ports::Address;
use crate::units::Lsn;

/// A follower beside its leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerHealth {
    /// Its leader; null while it has none that serves.
    pub leader: Option<LeaderOfFollower>,
    /// Everything before is in the archive of its timeline; null while nothing is.
    pub watermark: Option<Lsn>,
    /// Position that it stands at, and since when it does although its leader has more; null while it
    /// has everything.
    pub stands: Option<(Lsn, DateTime<Utc>)>,
}

/// The leader of a follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderOfFollower {
    /// Its participant.
    pub participant: ParticipantId,
    /// Its server.
    pub server: ServerId,
    /// Where its agent is reached.
    pub agent: Address,
}

/// What is known of follower `id` beside its leader; null if it is none.
pub async fn follower_health(
    ex: impl PgExecutor<'_>,
    id: ResourceId,
) -> Result<Option<FollowerHealth>, DbError> {
    let row = sqlx::query!(
        r#"
        select
            leaders.id as "leader?: ParticipantId",
            leaders.server_id as "server?: ServerId",
            servers.host as "host?",
            servers.agent_port as "agent_port?",
            epochs.watermark_lsn as "watermark_lsn?",
            case when forks.behind_since is not null then forks.replayed_lsn end as stands_at,
            case
                when forks.behind_since is not null
                then greatest(forks.replayed_since, forks.behind_since)
            end as stands_since
        from resources
        join forks on forks.resource_id = resources.id
        join participants on participants.id = resources.participant_id
        left join participants as leaders
            on leaders.timeline_id = participants.timeline_id
            and leaders.role = 'leader'
            and leaders.state = 'serving'
            and leaders.destroy_requested_at is null
        left join servers on servers.id = leaders.server_id
        left join lateral (
            select watermark_lsn
            from epochs
            where epochs.timeline_id = participants.timeline_id
            order by number desc
            limit 1
        ) as epochs on true
        where resources.id = $1 and participants.role = 'follower'
        "#,
        id.as_uuid(),
    )
    .fetch_optional(ex)
    .await
    .map_err(DbError::during("load what a follower is beside"))?;
    let lsn = |stored: i64| Lsn::from_bytes(stored.unsigned_abs());
    Ok(row.map(|row| {
        let port = row.agent_port.and_then(|port| u16::try_from(port).ok());
        let agent = row
            .host
            .zip(port)
            .map(|(host, port)| Address { host, port });
        FollowerHealth {
            leader: row
                .leader
                .zip(row.server)
                .zip(agent)
                .map(|((participant, server), agent)| LeaderOfFollower {
                    participant,
                    server,
                    agent,
                }),
            watermark: row.watermark_lsn.map(lsn),
            stands: row.stands_at.map(lsn).zip(row.stands_since),
        }
    }))
}

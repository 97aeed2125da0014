//! Where a new resource goes: a server of its own, or a shared one with room. One that begins as a
//! copy gets a server of its own, with a timeline that comes from that of the original; a follower
//! is on the very timeline of its original. One whose database is brought over is placed as if it began
//! empty.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Recorded;
use crate::db::DbError;
use crate::domain::ParticipantRole;
use crate::ids::{ParticipantId, RequestId, ResourceId, RestoreId, ServerId, TimelineId};

/// Everything a new server and participant are made of, in case one is needed.
#[derive(Debug, Clone)]
pub struct NewPlacement {
    /// Who runs the machine.
    pub provider: String,
    /// Id for the server.
    pub server: ServerId,
    /// Id for the participant.
    pub participant: ParticipantId,
    /// Id for the timeline, unless it follows another one.
    pub timeline: TimelineId,
    /// Major version of PostgreSQL.
    pub postgres_major: u16,
    /// Password of our role there, encrypted for the participant.
    pub prober_password: Vec<u8>,
    /// Its verifier, encrypted.
    pub prober_verifier: Vec<u8>,
    /// Request it belongs to.
    pub request_id: RequestId,
    /// Now.
    pub at: DateTime<Utc>,
    /// Moment after which the first states raise an alert.
    pub deadline_at: DateTime<Utc>,
}

/// Where a resource was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The server, new or not.
    pub server: ServerId,
    /// Whether the version was still the expected one; if not, nothing was changed.
    pub recorded: Recorded,
}

/// Attaches resource `id` to a participant.
///
/// That is a shared one of its plan with room, or a new one made from `new`. An attachment to a
/// participant that will never serve is replaced. The caller owns the transaction, and rolls it
/// back when it was overtaken.
///
/// Placements of one plan take turns (an advisory lock until the end of the transaction), so that
/// many creates at once fill one shared server after the other.
pub async fn place(
    conn: &mut PgConnection,
    (id, version): (ResourceId, i64),
    new: &NewPlacement,
) -> Result<Placed, DbError> {
    let plan = sqlx::query!(
        r#"
        select
            plans.name,
            plans.dedicated,
            plans.databases_per_server,
            case when not forks.by_transfer then forks.restore_id end as "restore?: RestoreId",
            forks.parent_timeline_id as "parent?: TimelineId",
            forks.follows as "follows?"
        from resources
        join plans on plans.name = resources.plan
        left join forks on forks.resource_id = resources.id
        where resources.id = $1
        "#,
        id.as_uuid(),
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(DbError::during("place a resource"))?;
    let birth = plan
        .restore
        .zip(plan.parent)
        .map(|(restore, parent)| Birth {
            restore,
            parent,
            follows: plan.follows.unwrap_or(false),
        });
    let room = if plan.dedicated || birth.is_some() {
        None
    } else {
        lock_plan(conn, &plan.name).await?;
        shared_participant_with_room(conn, &plan.name, plan.databases_per_server).await?
    };
    let (server, participant) = match room {
        Some(found) => found,
        None => (
            create(conn, &plan.name, new, birth.as_ref()).await?,
            new.participant,
        ),
    };
    let attached = sqlx::query!(
        r#"
        update resources
        set participant_id = $3, instructed_generation = null, version = version + 1
        where id = $1 and version = $2 and state = 'creating'
        "#,
        id.as_uuid(),
        version,
        participant.as_uuid(),
    )
    .execute(&mut *conn)
    .await
    .map_err(DbError::during("place a resource"))?;
    forget_transfer(conn, id).await?;
    Ok(Placed {
        server,
        recorded: Recorded::of(attached.rows_affected()),
    })
}

/// What was brought over was brought to where the resource is no more.
async fn forget_transfer(conn: &mut PgConnection, id: ResourceId) -> Result<(), DbError> {
    sqlx::query!(
        "update forks set transferred_at = null where resource_id = $1 and by_transfer",
        id.as_uuid(),
    )
    .execute(conn)
    .await
    .map_err(DbError::during("place a resource"))?;
    Ok(())
}

/// What the data of a new participant comes from.
pub(super) struct Birth {
    pub(super) restore: RestoreId,
    pub(super) parent: TimelineId,
    /// Whether it stays on the timeline of its parent.
    pub(super) follows: bool,
}

async fn lock_plan(conn: &mut PgConnection, plan: &str) -> Result<(), DbError> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtext('placement of ' || $1))",
        plan
    )
    .execute(conn)
    .await
    .map_err(DbError::during("place a resource"))?;
    Ok(())
}

async fn shared_participant_with_room(
    conn: &mut PgConnection,
    plan: &str,
    databases_per_server: i32,
) -> Result<Option<(ServerId, ParticipantId)>, DbError> {
    let found = sqlx::query!(
        r#"
        select
            servers.id as "server: ServerId",
            participants.id as "participant: ParticipantId"
        from servers
        join participants on participants.server_id = servers.id
        where
            servers.plan = $1
            and servers.state in ('requested', 'booting', 'ready')
            and servers.destroy_requested_at is null
            and participants.state in ('planned', 'creating', 'serving')
            and participants.destroy_requested_at is null
            and participants.role = 'leader'
            and (
                select count(*) from resources where resources.participant_id = participants.id
            ) < $2
        order by servers.id
        limit 1
        "#,
        plan,
        i64::from(databases_per_server),
    )
    .fetch_optional(conn)
    .await
    .map_err(DbError::during("place a resource"))?;
    Ok(found.map(|found| (found.server, found.participant)))
}

pub(super) async fn create(
    conn: &mut PgConnection,
    plan: &str,
    new: &NewPlacement,
    birth: Option<&Birth>,
) -> Result<ServerId, DbError> {
    let follows = birth.is_some_and(|birth| birth.follows);
    let timeline = match birth {
        Some(birth) if follows => birth.parent,
        Some(_) | None => new.timeline,
    };
    let role = if follows {
        ParticipantRole::Follower
    } else {
        ParticipantRole::Leader
    };
    sqlx::query!(
        r#"
        with timeline as (
            insert into timelines (id, parent_id, created_at)
            select $3, $13, $8
            where $14 = 'leader'
        ),
        server as (
            insert into servers (
                id, provider, plan, state, state_since, deadline_at, request_id, created_at
            )
            values ($1, $4, $5, 'requested', $8, $9, $7, $8)
            returning id
        )
        insert into participants (
            id, timeline_id, server_id, role, state, state_since, deadline_at, postgres_major,
            prober_password, prober_verifier, request_id, created_at, restore_id
        )
        select $2, $3, server.id, $14, 'planned', $8, $9,
            coalesce((restores.source ->> 'postgres_major')::integer, $6), $10, $11, $7, $8, $12
        from server
        left join restores on restores.id = $12
        "#,
        new.server.as_uuid(),
        new.participant.as_uuid(),
        timeline.as_uuid(),
        new.provider,
        plan,
        i32::from(new.postgres_major),
        new.request_id.as_uuid(),
        new.at,
        new.deadline_at,
        new.prober_password,
        new.prober_verifier,
        birth.map(|birth| birth.restore.as_uuid()),
        birth.map(|birth| birth.parent.as_uuid()),
        role.as_str(),
    )
    .execute(conn)
    .await
    .map_err(DbError::during("place a resource"))?;
    Ok(new.server)
}

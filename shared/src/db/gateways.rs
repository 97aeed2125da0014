//! Replicas of the gateway, and how far each of them is.
//!
//! Whether a replica is live is a comparison of two moments of the control database's own clock, so
//! that no machine with a wrong one is taken for silent.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::postgres::types::PgInterval;

use crate::db::DbError;
use crate::ids::{GatewayId, ResourceId};

/// How long a replica counts as live after it was last heard. Nobody waits longer for one that is
/// cut off: it leads its clients where it did before, which is safe (see [`crate::ports::Endpoint`]).
pub const LIVE_FOR: Duration = Duration::from_secs(3);

/// A replica, as it enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGateway {
    /// Its id.
    pub id: GatewayId,
    /// Host that clients are told.
    pub host: String,
    /// Port that clients are told for sessions.
    pub session_port: u16,
    /// Port that clients are told for connections that are pooled by transaction.
    pub pooled_port: u16,
}

/// Enters a replica that has applied nothing yet. One that was there before begins anew.
pub async fn enter(executor: impl PgExecutor<'_>, new: &NewGateway) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        insert into gateways (
            id, host, session_port, pooled_port, applied_change, unsettled, started_at, seen_at
        )
        values ($1, $2, $3, $4, 0, '{}', clock_timestamp(), clock_timestamp())
        on conflict (id) do update
        set
            host = excluded.host,
            session_port = excluded.session_port,
            pooled_port = excluded.pooled_port,
            applied_change = 0,
            unsettled = '{}',
            problem = null,
            started_at = excluded.started_at,
            seen_at = excluded.seen_at
        "#,
        new.id.as_uuid(),
        new.host,
        i32::from(new.session_port),
        i32::from(new.pooled_port),
    )
    .execute(executor)
    .await
    .map_err(DbError::during("enter a gateway"))?;
    Ok(())
}

/// How far a replica is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Changes up to this number are in force.
    pub applied: u64,
    /// But for those of these resources.
    pub unsettled: Vec<ResourceId>,
    /// Why it does not do what it should; none when it does.
    pub problem: Option<String>,
}

/// Notes that a replica is there, and how far. Tells whether it is known: one that was away for long
/// was forgotten, and enters again.
pub async fn beat(
    executor: impl PgExecutor<'_>,
    id: GatewayId,
    progress: &Progress,
) -> Result<bool, DbError> {
    let unsettled: Vec<_> = progress.unsettled.iter().map(|id| id.as_uuid()).collect();
    let done = sqlx::query!(
        r#"
        update gateways
        set
            applied_change = $2,
            unsettled = $3,
            problem = $4,
            seen_at = clock_timestamp()
        where id = $1
        "#,
        id.as_uuid(),
        i64::try_from(progress.applied).unwrap_or(i64::MAX),
        &unsettled,
        progress.problem,
    )
    .execute(executor)
    .await
    .map_err(DbError::during("note how far a gateway is"))?;
    Ok(done.rows_affected() == 1)
}

/// Takes a replica away that serves no clients any more.
pub async fn leave(executor: impl PgExecutor<'_>, id: GatewayId) -> Result<(), DbError> {
    sqlx::query!("delete from gateways where id = $1", id.as_uuid())
        .execute(executor)
        .await
        .map_err(DbError::during("take a gateway away"))?;
    Ok(())
}

/// How live replicas stand to one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Replicas that are live.
    pub live: u64,
    /// Those of them where the change is not in force.
    pub behind: u64,
    /// Host, session port and pooled port that clients are told, by the eldest live replica.
    pub told: Option<(String, u16, u16)>,
}

/// How live replicas stand to change number `change`, which is about `resource`.
pub async fn standing(
    executor: impl PgExecutor<'_>,
    resource: ResourceId,
    change: u64,
) -> Result<Standing, DbError> {
    let row = sqlx::query!(
        r#"
        with live as (
            select * from gateways where seen_at > clock_timestamp() - $3::interval
        ),
        eldest as (
            select host, session_port, pooled_port from live order by id limit 1
        )
        select
            (select count(*) from live) as "live!",
            (
                select count(*) from live
                where applied_change < $2 or $1 = any(unsettled)
            ) as "behind!",
            (select host from eldest),
            (select session_port from eldest),
            (select pooled_port from eldest)
        "#,
        resource.as_uuid(),
        i64::try_from(change).unwrap_or(i64::MAX),
        live_for(),
    )
    .fetch_one(executor)
    .await
    .map_err(DbError::during("ask how far the gateways are"))?;
    let port = |port: i32| u16::try_from(port).ok();
    let told = row.host.and_then(|host| {
        let session = row.session_port.and_then(port)?;
        Some((host, session, row.pooled_port.and_then(port)?))
    });
    Ok(Standing {
        live: row.live.unsigned_abs(),
        behind: row.behind.unsigned_abs(),
        told,
    })
}

/// A replica, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its id.
    pub id: GatewayId,
    /// Host that clients are told.
    pub host: String,
    /// Port that clients are told for sessions.
    pub session_port: i32,
    /// Port that clients are told for connections that are pooled by transaction.
    pub pooled_port: i32,
    /// Whether it was heard of late.
    pub live: bool,
    /// Changes that it has not applied.
    pub behind: i64,
    /// Why it does not do what it should; none when it does.
    pub problem: Option<String>,
    /// Moment it was last heard.
    pub seen_at: DateTime<Utc>,
}

/// Every replica that did not leave, the eldest first.
pub async fn all(executor: impl PgExecutor<'_>) -> Result<Vec<Gateway>, DbError> {
    sqlx::query_as!(
        Gateway,
        r#"
        select
            gateways.id as "id: GatewayId",
            gateways.host,
            gateways.session_port,
            gateways.pooled_port,
            gateways.seen_at > clock_timestamp() - $1::interval as "live!",
            greatest(route_changes.newest - gateways.applied_change, 0) as "behind!",
            gateways.problem,
            gateways.seen_at
        from gateways
        cross join route_changes
        order by gateways.id
        limit 1000
        "#,
        live_for(),
    )
    .fetch_all(executor)
    .await
    .map_err(DbError::during("read the gateways"))
}

/// Clears the alerts about replicas that are not there any more.
pub async fn clear_alerts_of_gone(
    executor: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        update alerts
        set cleared_at = greatest($1, raised_at)
        where
            subject_kind = 'gateway'
            and cleared_at is null
            and not exists (select from gateways where gateways.id = alerts.subject_id)
        "#,
        now,
    )
    .execute(executor)
    .await
    .map_err(DbError::during("clear the alerts of gateways"))?;
    Ok(())
}

fn live_for() -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(LIVE_FOR.as_micros()).unwrap_or(i64::MAX),
    }
}

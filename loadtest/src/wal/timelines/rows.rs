//! Timelines, servers and leaders in the control database, as provisioning leaves them.

use sqlx::PgPool;

use super::played::Played;

/// Writes down one of which WAL is to be pushed, whose agent is reached at `port`, on a server of `plan`.
pub(super) async fn insert(
    pool: &PgPool,
    played: &Played,
    (port, plan): (u16, &str),
) -> anyhow::Result<()> {
    let mut transaction = pool.begin().await?;
    sqlx::query("insert into timelines (id, created_at) values ($1, now())")
        .bind(played.timeline)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "insert into servers (
            id, provider, plan, state, state_since, host, agent_port, postgres_port,
            request_id, created_at
        )
        values ($1, 'local', $2, 'ready', now(), '127.0.0.1', $3, 1, $1, now())",
    )
    .bind(played.server)
    .bind(plan)
    .bind(i32::from(port))
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "insert into participants (
            id, timeline_id, server_id, role, state, state_since, postgres_major, generation,
            acknowledged_generation, prober_password, prober_verifier, request_id, created_at
        )
        values ($1, $2, $3, 'leader', 'serving', now(), 15, 1, 1, '', '', $1, now())",
    )
    .bind(played.participant)
    .bind(played.timeline)
    .bind(played.server)
    .execute(&mut *transaction)
    .await?;
    // Nobody takes a base backup of a database that is not there: that job has failed for good.
    sqlx::query(
        "insert into jobs (kind, subject_id, state, request_id, created_at, changed_at)
        values
            ('wal_push', $1, 'pending', $1, now(), now()),
            ('base_backup', $1, 'dead', $1, now(), now())",
    )
    .bind(played.timeline)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Seconds between two pushes.
pub(super) async fn interval_s(pool: &PgPool, plan: &str) -> anyhow::Result<f64> {
    let query = "select wal_push_interval_ms from plans where name = $1";
    let milliseconds: i32 = sqlx::query_scalar(query).bind(plan).fetch_one(pool).await?;
    Ok(f64::from(milliseconds) / 1000.0)
}

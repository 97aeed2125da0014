//! Keeps the tables of the control database from growing for ever.

use chrono::TimeDelta;
use shared::db::{Limit, audit, idempotency, observations};

use crate::context::Context;
use crate::ring::TurnError;

/// Days for which the history of observations is kept.
const HISTORY_DAYS: i64 = 14;
/// Days ahead for which the history has room.
const DAYS_AHEAD: i64 = 3;
/// Hours for which an idempotency key is known.
const IDEMPOTENCY_HOURS: i64 = 24;
/// Days for which the audit log is kept.
const AUDIT_DAYS: i64 = 365;

/// Makes room for the days to come, and forgets what is too old, batch by batch.
pub(super) async fn sweep(context: Context) -> Result<(), TurnError> {
    let now = context.now();
    let today = now.date_naive();
    for ahead in 0..=DAYS_AHEAD {
        observations::create_partition(&context.pool, today + TimeDelta::days(ahead)).await?;
    }
    let oldest = today - TimeDelta::days(HISTORY_DAYS);
    while observations::drop_partitions(&context.pool, oldest).await? > 0 {}
    let keys_before = now - TimeDelta::hours(IDEMPOTENCY_HOURS);
    while idempotency::purge(&context.pool, keys_before, Limit::most()).await? > 0 {}
    let audit_before = now - TimeDelta::days(AUDIT_DAYS);
    while audit::purge(&context.pool, audit_before, Limit::most()).await? > 0 {}
    Ok(())
}

//! What the statements answer, as plain data.

use chrono::{DateTime, Utc};
use shared::units::Lsn;
use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

use super::failure::Failure;

/// Answer of `feel.sql`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    /// Moment the postmaster started.
    pub(super) started_at: DateTime<Utc>,
    /// WAL flushed up to here.
    pub(super) wal_lsn: Option<Lsn>,
    /// Connections of customers to the database.
    pub(super) open: u32,
    /// Of those, in the middle of a statement.
    pub(super) active: u32,
    /// Age of the oldest transaction of a customer.
    pub(super) oldest_transaction_s: Option<f64>,
    /// Age of the oldest statement, in any database, that is waiting for the WAL to be written.
    pub(super) wal_wait_s: Option<f64>,
    /// Blocks of the database that were asked for since the statistics were reset.
    pub(super) blocks_fetched: u64,
    /// Of those, found in memory.
    pub(super) blocks_hit: u64,
}

/// Answer of `survey.sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    /// Size of the database in bytes.
    pub(super) size_bytes: u64,
    /// Number of tables.
    pub(super) tables: u64,
    /// Live rows, as estimated.
    pub(super) rows_estimated: u64,
    /// Sequential scans since the statistics were reset.
    pub(super) sequential_scans: u64,
    /// Index scans since then.
    pub(super) index_scans: u64,
}

impl Look {
    /// # Errors
    /// When the database or the customer's role is not usable, or when the row is not of the
    /// expected shape.
    pub(super) fn read(row: &Row) -> Result<Self, Failure> {
        if !read::<bool>(row, "database_usable")? {
            return Err(Failure::DatabaseClosed);
        }
        if !read::<bool>(row, "role_usable")? {
            return Err(Failure::RoleMissing);
        }
        Ok(Self {
            started_at: read(row, "started_at")?,
            wal_lsn: read::<Option<PgLsn>>(row, "wal_lsn")?.map(|lsn| Lsn::from_bytes(lsn.into())),
            open: u32::try_from(count(row, "open")?).unwrap_or(u32::MAX),
            active: u32::try_from(count(row, "active")?).unwrap_or(u32::MAX),
            oldest_transaction_s: age(row, "oldest_transaction_s")?,
            wal_wait_s: age(row, "wal_wait_s")?,
            blocks_fetched: count(row, "blocks_fetched")?,
            blocks_hit: count(row, "blocks_hit")?,
        })
    }

    /// Share of block reads served from memory; null while nothing was read.
    pub(super) fn cache_hit_ratio(&self) -> Option<f64> {
        let [hit, fetched] = [self.blocks_hit, self.blocks_fetched].map(approximate);
        (self.blocks_fetched > 0).then(|| (hit / fetched).clamp(0.0, 1.0))
    }
}

impl Survey {
    /// # Errors
    /// When the row is not of the expected shape.
    pub(super) fn read(row: &Row) -> Result<Self, Failure> {
        Ok(Self {
            size_bytes: count(row, "size_bytes")?,
            tables: count(row, "table_count")?,
            rows_estimated: count(row, "rows_estimated")?,
            sequential_scans: count(row, "sequential_scans")?,
            index_scans: count(row, "index_scans")?,
        })
    }
}

fn read<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    column: &'static str,
) -> Result<T, Failure> {
    row.try_get(column).map_err(Failure::to("read the answer"))
}

/// A counter: never below zero.
fn count(row: &Row, column: &'static str) -> Result<u64, Failure> {
    Ok(u64::try_from(read::<i64>(row, column)?).unwrap_or(0))
}

/// An age: a clock that was set back does not make it negative.
fn age(row: &Row, column: &'static str) -> Result<Option<f64>, Failure> {
    Ok(read::<Option<f64>>(row, column)?.map(|seconds| seconds.max(0.0)))
}

/// Close enough for a ratio: 32 of the leading bits, and their place.
fn approximate(count: u64) -> f64 {
    let high = u32::try_from(count >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(count & 0xFFFF_FFFF).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_becomes_a_float() {
        assert!((approximate(0) - 0.0).abs() < f64::EPSILON);
        assert!((approximate(4_294_967_295) - 4_294_967_295.0).abs() < f64::EPSILON);
        assert!((approximate(1 << 40) - 1_099_511_627_776.0).abs() < f64::EPSILON);
    }
}

//! What the statements answer, as plain data.

use chrono::{DateTime, Utc};
use shared::domain::Replay;
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
    /// How it replays; null if it writes.
    pub(super) replay: Option<Replay>,
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
    /// Size of the database in bytes; null if it was not to be measured.
    pub(super) size_bytes: Option<u64>,
    /// Number of tables.
    pub(super) tables: u64,
    /// Live rows, as estimated.
    pub(super) rows_estimated: u64,
    /// Sequential scans since the statistics were reset.
    pub(super) sequential_scans: u64,
    /// Index scans since then.
    pub(super) index_scans: u64,
}

/// A survey that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct SurveyWish {
    /// The WAL position when the size was measured last. As long as it stands there, no
    /// transaction has ended that could have changed the size.
    pub(super) sized_at: Option<Lsn>,
}

impl SurveyWish {
    /// Whether the size can be another one than at the last measurement.
    pub(super) fn measures_size(self, look: &Look) -> bool {
        look.wal_lsn.is_none() || look.wal_lsn != self.sized_at
    }
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
            replay: replay(row)?,
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
            size_bytes: read::<Option<i64>>(row, "size_bytes")?
                .and_then(|size| size.try_into().ok()),
            tables: count(row, "table_count")?,
            rows_estimated: count(row, "rows_estimated")?,
            sequential_scans: count(row, "sequential_scans")?,
            index_scans: count(row, "index_scans")?,
        })
    }
}

/// How a standby replays; null for a leader.
fn replay(row: &Row) -> Result<Option<Replay>, Failure> {
    if !read::<bool>(row, "replays")? {
        return Ok(None);
    }
    Ok(Some(Replay {
        streaming: read::<Option<bool>>(row, "streaming")?.unwrap_or(false),
        last_commit_at: read(row, "last_commit_at")?,
    }))
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
    fn the_size_is_measured_unless_the_wal_stands_where_it_stood() {
        let at = |bytes| Some(Lsn::from_bytes(bytes));
        let look = |wal_lsn| Look {
            started_at: DateTime::UNIX_EPOCH,
            wal_lsn,
            replay: None,
            open: 0,
            active: 0,
            oldest_transaction_s: None,
            wal_wait_s: None,
            blocks_fetched: 0,
            blocks_hit: 0,
        };
        let measures = |sized_at, wal_lsn| SurveyWish { sized_at }.measures_size(&look(wal_lsn));
        assert!(measures(None, at(7)));
        assert!(measures(at(6), at(7)));
        assert!(measures(None, None));
        assert!(!measures(at(7), at(7)));
    }

    #[test]
    fn a_counter_becomes_a_float() {
        assert!((approximate(0) - 0.0).abs() < f64::EPSILON);
        assert!((approximate(4_294_967_295) - 4_294_967_295.0).abs() < f64::EPSILON);
        assert!((approximate(1 << 40) - 1_099_511_627_776.0).abs() < f64::EPSILON);
    }
}

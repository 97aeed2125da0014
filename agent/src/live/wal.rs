//! What a push must know of the WAL at this moment, and what it does to the slot of the archive.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::agent_api::{ARCHIVE_SLOT, SlotWal};
use shared::units::Lsn;
use tokio::time::{Instant, timeout_at};

use super::{Kept, Sampler, slot_wal};
use crate::board::Running;
use crate::catalog::slots;

/// Longest time that PostgreSQL is given for the questions of one push. Longer than for a status:
/// nobody judges by it whether PostgreSQL lives.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Where the WAL is, of what form it is, and what the slot holds of it. The position says nothing
/// about `tli`; the name of the file that it is in does. The moment is taken before the position:
/// PostgreSQL scans what it selects from before it computes what it selects.
const STATE: &str = "
    with looked as materialized (select clock_timestamp() as at)
    select looked.at,
        pg_current_wal_flush_lsn()::text,
        left(pg_walfile_name(pg_current_wal_flush_lsn()), 8),
        pg_size_bytes(current_setting('wal_segment_size')),
        pg_size_bytes(current_setting('wal_block_size')),
        (select system_identifier from pg_control_system())::text,
        pg_postmaster_start_time(),
        restart_lsn::text,
        wal_status
    from looked
    left join pg_replication_slots on slot_name = $1";

/// A row of it.
type StateRow = (
    DateTime<Utc>,
    String,
    String,
    i64,
    i64,
    String,
    DateTime<Utc>,
    Option<String>,
    Option<String>,
);

/// Moves a slot, if this PostgreSQL is still the one that it was to be moved in.
const ADVANCE: &str = "
    select case
        when (select system_identifier from pg_control_system())::text = $3
            and left(pg_walfile_name(pg_current_wal_flush_lsn()), 8) = $4
            and pg_postmaster_start_time() = $5
        then (select end_lsn::text from pg_replication_slot_advance($1, $2::pg_lsn))
    end";

/// One run of one PostgreSQL: what it has flushed it has for as long as this is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Writer {
    /// `system_identifier` of the cluster.
    pub(crate) system_identifier: u64,
    /// PostgreSQL's timeline number that is written now.
    pub(crate) tli: u32,
    /// Moment the postmaster started.
    pub(crate) started_at: DateTime<Utc>,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cluster {}, tli {}, started at {}",
            self.system_identifier, self.tli, self.started_at
        )
    }
}

/// The WAL of a running PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalState {
    /// Who wrote it.
    pub(crate) writer: Writer,
    /// Moment right before that was looked at, by PostgreSQL's clock.
    pub(crate) looked_at: DateTime<Utc>,
    /// Flushed up to here.
    pub(crate) flush_lsn: Lsn,
    /// Size of a segment in bytes: a power of two from 1 MiB to 1 GiB.
    pub(crate) segment_bytes: u64,
    /// Size of a page in bytes.
    pub(crate) page_bytes: u64,
    /// Oldest WAL that the slot of the archive holds; none if it is lost or not there.
    pub(crate) slot_restart_lsn: Option<Lsn>,
}

/// PostgreSQL does not say.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silence {
    /// It takes too long.
    #[error("PostgreSQL does not answer")]
    Late,
    /// It says no.
    #[error("PostgreSQL does not tell: {0}")]
    Failed(#[from] sqlx::Error),
    /// It says something that makes no sense.
    #[error("PostgreSQL says {0:?}, which makes no sense")]
    Nonsense(String),
    /// It is another one than it was.
    #[error("another PostgreSQL answers than {0}")]
    Other(Writer),
}

impl Sampler {
    /// The WAL as it is now, never a kept answer. A slot of `wanted` that is lost or absent is made
    /// anew, after the answer was taken.
    ///
    /// # Errors
    /// [`Silence`], before `deadline` or a moment.
    pub(crate) async fn wal_state(
        &self,
        (sockets, running): (&Path, &Running),
        wanted: &[String],
        deadline: Instant,
    ) -> Result<WalState, Silence> {
        let deadline = deadline.min(Instant::now() + PATIENCE);
        let Ok(mut kept) = timeout_at(deadline, self.0.lock()).await else {
            return Err(Silence::Late);
        };
        let answer = async {
            let connection = kept.connection(sockets, running).await?;
            let row = sqlx::query_as(STATE).bind(ARCHIVE_SLOT);
            let state = understand(row.fetch_one(&mut *connection).await?)?;
            if state.slot_restart_lsn.is_none() {
                slots::ensure(connection, wanted).await?;
            }
            Ok(state)
        };
        let answer = timeout_at(deadline, answer).await;
        kept.keep_if_well(answer.unwrap_or(Err(Silence::Late)))
    }

    /// Moves the slot of the archive on to `safe_lsn` in the PostgreSQL that is `writer`. Gives where
    /// it is then.
    ///
    /// # Errors
    /// [`Silence`]; PostgreSQL refuses to move it back.
    pub(crate) async fn advance_slot(
        &self,
        (sockets, running): (&Path, &Running),
        (writer, safe_lsn): (Writer, Lsn),
        deadline: Instant,
    ) -> Result<Lsn, Silence> {
        let deadline = deadline.min(Instant::now() + PATIENCE);
        let Ok(mut kept) = timeout_at(deadline, self.0.lock()).await else {
            return Err(Silence::Late);
        };
        let answer = async {
            let connection = kept.connection(sockets, running).await?;
            let moved: Option<String> = sqlx::query_scalar(ADVANCE)
                .bind(ARCHIVE_SLOT)
                .bind(safe_lsn.to_string())
                .bind(writer.system_identifier.to_string())
                .bind(format!("{:08X}", writer.tli))
                .bind(writer.started_at)
                .fetch_one(connection)
                .await?;
            position(&moved.ok_or(Silence::Other(writer))?)
        };
        let answer = timeout_at(deadline, answer).await;
        kept.keep_if_well(answer.unwrap_or(Err(Silence::Late)))
    }
}

impl Kept {
    /// A connection that something went wrong on is not used again: an answer may still be on its
    /// way.
    pub(super) fn keep_if_well<T>(&mut self, answer: Result<T, Silence>) -> Result<T, Silence> {
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }
}

fn understand(row: StateRow) -> Result<WalState, Silence> {
    let (
        looked_at,
        flush_lsn,
        tli,
        segment_bytes,
        page_bytes,
        system_identifier,
        started_at,
        restart_lsn,
        status,
    ) = row;
    let is_lost = status.is_none_or(|status| slot_wal(&status) == SlotWal::Lost);
    let restart_lsn = restart_lsn.filter(|_| !is_lost);
    let number = system_identifier.parse();
    Ok(WalState {
        writer: Writer {
            system_identifier: number.map_err(|_| Silence::Nonsense(system_identifier))?,
            tli: u32::from_str_radix(&tli, 16).map_err(|_| Silence::Nonsense(tli))?,
            started_at,
        },
        looked_at,
        flush_lsn: position(&flush_lsn)?,
        segment_bytes: size(segment_bytes)?,
        page_bytes: size(page_bytes)?,
        slot_restart_lsn: restart_lsn.map(|lsn| position(&lsn)).transpose()?,
    })
}

/// The size of a segment or page in bytes.
pub(super) fn size(bytes: i64) -> Result<u64, Silence> {
    let size = u64::try_from(bytes).ok();
    size.filter(|size| size.is_power_of_two())
        .ok_or_else(|| Silence::Nonsense(bytes.to_string()))
}

fn position(text: &str) -> Result<Lsn, Silence> {
    text.parse().map_err(|_| Silence::Nonsense(text.to_owned()))
}

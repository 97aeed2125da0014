//! Which history a PostgreSQL is on, whether it writes it or replays what another one writes.

use std::path::Path;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout_at};

use super::Sampler;
use super::wal::{PATIENCE, Silence, Writer, size};
use crate::board::Running;

/// The `tli` of one that replays is the later of two: of its last checkpoint, and up to which it must
/// recover. PostgreSQL says no other one there.
const HISTORY: &str = "
    select
        system.system_identifier::text,
        case
            when pg_is_in_recovery()
                then greatest(checkpoint.timeline_id, recovery.min_recovery_end_timeline)::text
            else
                ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int::text
        end,
        pg_postmaster_start_time(),
        pg_size_bytes(current_setting('wal_segment_size'))
    from
        pg_control_system() as system,
        pg_control_checkpoint() as checkpoint,
        pg_control_recovery() as recovery";

/// A row of it.
type HistoryRow = (String, String, DateTime<Utc>, i64);

/// The history of a running PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct History {
    /// The cluster, and the `tli` that is written or replayed.
    pub(crate) writer: Writer,
    /// Size of a segment in bytes: a power of two from 1 MiB to 1 GiB.
    pub(crate) segment_bytes: u64,
}

impl Sampler {
    /// The history that this PostgreSQL is on now, never a kept answer.
    ///
    /// # Errors
    /// [`Silence`], before `deadline` or a moment.
    pub(crate) async fn history(
        &self,
        (sockets, running): (&Path, &Running),
        deadline: Instant,
    ) -> Result<History, Silence> {
        let deadline = deadline.min(Instant::now() + PATIENCE);
        let Ok(mut kept) = timeout_at(deadline, self.0.lock()).await else {
            return Err(Silence::Late);
        };
        let answer = async {
            let connection = kept.connection(sockets, running).await?;
            understand(sqlx::query_as(HISTORY).fetch_one(connection).await?)
        };
        let answer = timeout_at(deadline, answer).await;
        kept.keep_if_well(answer.unwrap_or(Err(Silence::Late)))
    }
}

fn understand(row: HistoryRow) -> Result<History, Silence> {
    let (system_identifier, tli, started_at, segment_bytes) = row;
    let number = system_identifier.parse();
    Ok(History {
        writer: Writer {
            system_identifier: number.map_err(|_| Silence::Nonsense(system_identifier))?,
            tli: tli.parse().map_err(|_| Silence::Nonsense(tli))?,
            started_at,
        },
        segment_bytes: size(segment_bytes)?,
    })
}

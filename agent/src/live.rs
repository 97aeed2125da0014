//! What PostgreSQL itself says about its WAL, asked when somebody asks us.
//!
//! Over a kept connection to the local socket, with a deadline: a PostgreSQL that hangs costs an
//! answer of ours half a second, and nothing is known of it then.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::agent_api::{ARCHIVE_SLOT, SAMPLE_AGE_MAX, SlotStatus, SlotWal};
use shared::ids::ServerId;
use shared::pki::server_of_name;
use shared::units::Lsn;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::board::Running;
use crate::render::BOOTSTRAP_ROLE;

mod history;
mod wal;

pub(crate) use history::History;
pub(crate) use wal::{Silence, WalState, Writer};

/// Longest time an answer of ours waits for PostgreSQL.
const PATIENCE: Duration = Duration::from_millis(500);

/// WAL position, whether any process waits for a write or sync of WAL at this moment, the slot of
/// the archive, and how far WAL is replayed.
const SAMPLE: &str = "
    select in_recovery,
        case when not in_recovery then pg_current_wal_flush_lsn()::text end as flush_lsn,
        exists (
            select from pg_stat_activity
            where wait_event in ('WALSync', 'WALWrite', 'WALInitSync', 'WALInitWrite')
        ) as waits,
        restart_lsn::text,
        wal_status,
        safe_wal_size as safe_wal_bytes,
        pg_last_wal_receive_lsn()::text as receive_lsn,
        pg_last_wal_replay_lsn()::text as replay_lsn,
        pg_last_xact_replay_timestamp() as replayed_commit_at,
        case when in_recovery then pg_get_wal_replay_pause_state() = 'paused' end as is_paused,
        (select sender_host from pg_stat_wal_receiver where status = 'streaming') as sender
    from (select pg_is_in_recovery() as in_recovery) as once
    left join pg_replication_slots on slot_name = $1";

/// A row of it.
#[derive(sqlx::FromRow)]
struct SampleRow {
    in_recovery: bool,
    flush_lsn: Option<String>,
    waits: bool,
    restart_lsn: Option<String>,
    wal_status: Option<String>,
    safe_wal_bytes: Option<i64>,
    receive_lsn: Option<String>,
    replay_lsn: Option<String>,
    replayed_commit_at: Option<DateTime<Utc>>,
    is_paused: Option<bool>,
    sender: Option<String>,
}

/// Opens a connection of the local superuser over the socket in `sockets`.
pub(crate) async fn connect_locally(sockets: &Path, port: u16) -> sqlx::Result<PgConnection> {
    connect_to((sockets, port), "postgres", &[("statement_timeout", "0")]).await
}

/// The same to another database, with `settings` that outrank what its owner has set there.
pub(crate) async fn connect_to(
    (sockets, port): (&Path, u16),
    database: &str,
    settings: &[(&str, &str)],
) -> sqlx::Result<PgConnection> {
    // A path of a socket is short; one through a descriptor of its directory always is.
    let directory = File::open(sockets)?;
    let options = PgConnectOptions::new_without_pgpass()
        .socket(format!("/proc/self/fd/{}", directory.as_raw_fd()))
        .port(port)
        .username(BOOTSTRAP_ROLE)
        .database(database)
        .options(settings.iter().copied())
        .application_name("ringmaster-agent")
        .ssl_mode(PgSslMode::Disable)
        // Commands may carry verifiers.
        .disable_statement_logging();
    let connection = PgConnection::connect_with(&options).await;
    drop(directory);
    connection
}

/// What PostgreSQL said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) flush_lsn: Option<Lsn>,
    pub(crate) wal_wait_ms: Option<u64>,
    pub(crate) archive_slot: Option<SlotStatus>,
    pub(crate) in_recovery: Option<bool>,
    pub(crate) replay: Option<Replay>,
}

/// How far WAL is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) received: Option<Lsn>,
    pub(crate) replayed: Option<Lsn>,
    pub(crate) replayed_commit_at: Option<DateTime<Utc>>,
    /// Whom it streams from, which has proven to be that.
    pub(crate) streams_from: Option<ServerId>,
    pub(crate) is_paused: bool,
}

/// Asks PostgreSQL.
#[derive(Debug, Default)]
pub(crate) struct Sampler(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    connection: Option<(u32, PgConnection)>,
    newest: Option<(Instant, u32, Sample)>,
    waits: Waits,
}

impl Sampler {
    /// The newest sample of this PostgreSQL, taken now if the last one is old; an empty one if it
    /// does not answer in time.
    pub(crate) async fn sample(&self, sockets: &Path, running: &Running) -> Sample {
        let Ok(mut kept) = timeout(PATIENCE, self.0.lock()).await else {
            return Sample::default();
        };
        if let Some((at, pid, sample)) = kept.newest
            && pid == running.pid
            && at.elapsed() < SAMPLE_AGE_MAX
        {
            return sample;
        }
        let answer = timeout(PATIENCE, kept.ask(sockets, running)).await;
        let sample = if let Ok(Ok(sample)) = answer {
            sample
        } else {
            kept.connection = None;
            Sample::default()
        };
        kept.newest = Some((Instant::now(), running.pid, sample));
        sample
    }

    /// Closes the kept connection, so that it does not hold up a shutdown.
    pub(crate) async fn close(&self) {
        if let Ok(mut kept) = timeout(PATIENCE, self.0.lock()).await {
            kept.connection = None;
            kept.newest = None;
        }
    }
}

impl Kept {
    async fn ask(&mut self, sockets: &Path, running: &Running) -> sqlx::Result<Sample> {
        let connection = self.connection(sockets, running).await?;
        let row: SampleRow = sqlx::query_as(SAMPLE)
            .bind(ARCHIVE_SLOT)
            .fetch_one(connection)
            .await?;
        let lsn = |text: Option<String>| text.and_then(|lsn| lsn.parse().ok());
        let flush_lsn = lsn(row.flush_lsn);
        let replay = row.in_recovery.then_some(Replay {
            received: lsn(row.receive_lsn),
            replayed: lsn(row.replay_lsn),
            replayed_commit_at: row.replayed_commit_at,
            streams_from: row.sender.as_deref().and_then(server_of_name),
            is_paused: row.is_paused == Some(true),
        });
        let archive_slot = row.wal_status.map(|status| SlotStatus {
            restart_lsn: lsn(row.restart_lsn),
            wal_status: slot_wal(&status),
            safe_wal_bytes: row.safe_wal_bytes,
        });
        Ok(Sample {
            flush_lsn,
            wal_wait_ms: self.waits.note(Instant::now(), flush_lsn, row.waits),
            archive_slot,
            in_recovery: Some(row.in_recovery),
            replay,
        })
    }

    /// The kept connection to this PostgreSQL, opened if there is none.
    async fn connection(
        &mut self,
        sockets: &Path,
        running: &Running,
    ) -> sqlx::Result<&mut PgConnection> {
        let kept = self.connection.take();
        let kept = match kept.filter(|(pid, _)| *pid == running.pid) {
            Some(kept) => kept,
            None => (running.pid, connect_locally(sockets, running.port).await?),
        };
        let (_, connection) = self.connection.insert(kept);
        Ok(connection)
    }
}

/// What is not known is taken for lost: whoever reads it looks closer then.
fn slot_wal(status: &str) -> SlotWal {
    match status {
        "reserved" => SlotWal::Reserved,
        "extended" => SlotWal::Extended,
        "unreserved" => SlotWal::Unreserved,
        _ => SlotWal::Lost,
    }
}

/// Tells a disk that hangs from one that is busy: PostgreSQL does not say since when a process has
/// been waiting, but while a wait hangs, the flushed position stands still.
#[derive(Debug, Default)]
struct Waits(Option<(Instant, Option<Lsn>)>);

impl Waits {
    /// Milliseconds since the first sample in a row with a wait and the same flushed position;
    /// none if nobody waits.
    fn note(&mut self, now: Instant, flush_lsn: Option<Lsn>, waits: bool) -> Option<u64> {
        if !waits {
            self.0 = None;
            return None;
        }
        let since = match self.0 {
            Some((since, at)) if at == flush_lsn => since,
            Some(_) | None => now,
        };
        self.0 = Some((since, flush_lsn));
        u64::try_from((now - since).as_millis()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ages_only_while_nothing_is_flushed() {
        let begun = Instant::now();
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        let lsn = |bytes| Some(Lsn::from_bytes(bytes));
        let mut waits = Waits::default();
        assert_eq!(waits.note(at(0), lsn(1), false), None);
        assert_eq!(waits.note(at(10), lsn(1), true), Some(0));
        assert_eq!(waits.note(at(1010), lsn(1), true), Some(1000));
        assert_eq!(waits.note(at(2010), lsn(2), true), Some(0));
        assert_eq!(waits.note(at(3010), lsn(2), false), None);
        assert_eq!(waits.note(at(4010), lsn(2), true), Some(0));
    }
}

//! The session of a backup: PostgreSQL forgets the backup when it ends.
//!
//! One that replays begins at the last checkpoint that it has replayed, and ends where it is. Its clock
//! says nothing about what it has: that is told by the last commit, in the leader's own words.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::units::Lsn;
use sqlx::{Executor as _, PgConnection};
use tokio::time::{sleep, timeout};

use crate::live::connect_locally;

/// Longest time to a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Longest time of the checkpoint that a backup begins with.
const START_PATIENCE: Duration = Duration::from_mins(10);

/// Longest time of the end of a backup.
const STOP_PATIENCE: Duration = Duration::from_mins(1);

/// Time between two looks at the session.
const LOOK: Duration = Duration::from_secs(5);

/// Time between two looks at a replay that is about to reach the end.
const LOOK_AT_REPLAY: Duration = Duration::from_millis(100);

/// Nothing ends the session but PostgreSQL's end or ours.
const PREPARE: &str = "set idle_session_timeout = 0; set statement_timeout = 0";

/// Begins a backup with a checkpoint at once, and tells what pages are like.
const START: &str = "
    select pg_backup_start($1, true)::text,
        clock_timestamp(),
        pg_is_in_recovery(),
        current_setting('data_checksums')::boolean,
        pg_size_bytes(current_setting('block_size')),
        pg_size_bytes(current_setting('segment_size'))";

/// A row of it.
type StartRow = (String, DateTime<Utc>, bool, bool, i64, i64);

/// Ends it. What is archived when is nothing that PostgreSQL knows of.
const STOP: &str = "
    select lsn::text, labelfile, coalesce(spcmapfile, ''), clock_timestamp()
    from pg_backup_stop(false)";

/// Whether everything up to a position is replayed. It may end with the record in hand.
const HAS_REPLAYED: &str = "select pg_last_wal_replay_lsn() >= $1::pg_lsn";

/// Until when commits, and up to where WAL is replayed. Commits come in no order of time: each notes
/// its moment before its place in the WAL; a second is more than that takes. Without any since
/// PostgreSQL was started, the last ones were before the checkpoint, whose moment has no fractions of a
/// second.
const REPLAYED: &str = "
    select
        interval '1 second' + coalesce(
            pg_last_xact_replay_timestamp(),
            (select checkpoint_time from pg_control_checkpoint())
        ),
        pg_last_wal_replay_lsn()::text";

/// A backup that PostgreSQL knows of.
pub(super) struct Session {
    connection: PgConnection,
    /// Whether it replays what another one writes.
    replays: bool,
}

/// How it began.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) start_lsn: Lsn,
    pub(super) at: DateTime<Utc>,
    /// Whether pages have checksums.
    pub(super) checksums: bool,
    /// Size of a page of a relation in bytes.
    pub(super) page_bytes: usize,
    /// Pages of a file of a relation: the next one begins then.
    pub(super) pages_per_file: u32,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Consistent from here on.
    pub(super) stop_lsn: Lsn,
    /// What is committed up to there was committed until this moment, by the clock of the leader.
    pub(super) at: DateTime<Utc>,
    pub(super) label: String,
}

impl Session {
    /// Begins a backup called `label`.
    pub(super) async fn start(
        (sockets, port): (&Path, u16),
        label: &str,
    ) -> anyhow::Result<(Self, Started)> {
        let connecting = timeout(CONNECT_PATIENCE, connect_locally(sockets, port)).await;
        let mut connection = connecting.map_err(|_| anyhow::anyhow!("it does not answer"))??;
        connection.execute(PREPARE).await?;
        let start = sqlx::query_as(START).bind(label).fetch_one(&mut connection);
        let started = timeout(START_PATIENCE, start).await;
        let (start_lsn, at, replays, checksums, page_bytes, file_bytes): StartRow =
            started.map_err(|_| anyhow::anyhow!("its checkpoint takes too long"))??;
        anyhow::ensure!(page_bytes > 0, "a page of {page_bytes} bytes");
        let started = Started {
            start_lsn: start_lsn.parse()?,
            at,
            checksums,
            page_bytes: page_bytes.try_into()?,
            pages_per_file: (file_bytes / page_bytes).try_into()?,
        };
        let session = Self {
            connection,
            replays,
        };
        Ok((session, started))
    }

    /// Returns why the backup will not be finished: the session is lost, or whom it is of was promoted.
    pub(super) async fn lost(&mut self) -> anyhow::Error {
        loop {
            sleep(LOOK).await;
            let look = sqlx::query_scalar::<_, bool>("select pg_is_in_recovery()");
            match look.fetch_one(&mut self.connection).await {
                Ok(replays) if self.replays == replays => {}
                Ok(_) => return anyhow::anyhow!("the follower was promoted meanwhile"),
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    return error.context("PostgreSQL has ended the session of the backup");
                }
            }
        }
    }

    /// Ends the backup.
    ///
    /// # Errors
    /// If PostgreSQL does not end it: one that was promoted meanwhile has no backup.
    pub(super) async fn stop(mut self) -> anyhow::Result<Stopped> {
        let stop = sqlx::query_as(STOP).fetch_one(&mut self.connection);
        let stopped = timeout(STOP_PATIENCE, stop).await;
        let (stop_lsn, label, tablespaces, at): (String, String, String, _) =
            stopped.map_err(|_| anyhow::anyhow!("it does not answer"))??;
        anyhow::ensure!(
            tablespaces.is_empty(),
            "the cluster got a tablespace, and those cannot be backed up"
        );
        let stopped = Stopped {
            stop_lsn: stop_lsn.parse()?,
            at,
            label,
        };
        if !self.replays {
            return Ok(stopped);
        }
        let replayed = timeout(STOP_PATIENCE, self.replayed(stopped.stop_lsn)).await;
        let (stop_lsn, at) =
            replayed.map_err(|_| anyhow::anyhow!("it does not replay up to the end"))??;
        Ok(Stopped {
            stop_lsn,
            at,
            ..stopped
        })
    }

    /// A position at or behind `end`, and a moment: everything that was committed before the one was
    /// committed until the other, and the other way round.
    async fn replayed(&mut self, end: Lsn) -> anyhow::Result<(Lsn, DateTime<Utc>)> {
        loop {
            let has_replayed: bool = sqlx::query_scalar(HAS_REPLAYED)
                .bind(end.to_string())
                .fetch_one(&mut self.connection)
                .await?;
            if has_replayed {
                break;
            }
            sleep(LOOK_AT_REPLAY).await;
        }
        let replayed = sqlx::query_as(REPLAYED);
        let (at, lsn): (DateTime<Utc>, String) = replayed.fetch_one(&mut self.connection).await?;
        Ok((lsn.parse::<Lsn>()?.max(end), at))
    }
}

//! The session of a backup: PostgreSQL forgets the backup when it ends.

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

/// Nothing ends the session but PostgreSQL's end or ours.
const PREPARE: &str = "set idle_session_timeout = 0; set statement_timeout = 0";

/// Begins a backup with a checkpoint at once, and tells what pages are like.
const START: &str = "
    select pg_backup_start($1, true)::text,
        clock_timestamp(),
        current_setting('data_checksums')::boolean,
        pg_size_bytes(current_setting('block_size')),
        pg_size_bytes(current_setting('segment_size'))";

/// Ends it. What is archived when is nothing that PostgreSQL knows of.
const STOP: &str = "
    select lsn::text, labelfile, coalesce(spcmapfile, ''), clock_timestamp()
    from pg_backup_stop(false)";

/// A backup that PostgreSQL knows of.
pub(super) struct Session(PgConnection);

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
    pub(super) stop_lsn: Lsn,
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
        let (start_lsn, at, checksums, page_bytes, file_bytes): (String, _, bool, i64, i64) =
            started.map_err(|_| anyhow::anyhow!("its checkpoint takes too long"))??;
        anyhow::ensure!(page_bytes > 0, "a page of {page_bytes} bytes");
        let started = Started {
            start_lsn: start_lsn.parse()?,
            at,
            checksums,
            page_bytes: page_bytes.try_into()?,
            pages_per_file: (file_bytes / page_bytes).try_into()?,
        };
        Ok((Self(connection), started))
    }

    /// Returns when the session is lost.
    pub(super) async fn lost(&mut self) -> sqlx::Error {
        loop {
            sleep(LOOK).await;
            if let Err(error) = self.0.execute("select").await {
                return error;
            }
        }
    }

    /// Ends the backup.
    pub(super) async fn stop(mut self) -> anyhow::Result<Stopped> {
        let stop = sqlx::query_as(STOP).fetch_one(&mut self.0);
        let stopped = timeout(STOP_PATIENCE, stop).await;
        let (stop_lsn, label, tablespaces, at): (String, String, String, _) =
            stopped.map_err(|_| anyhow::anyhow!("it does not answer"))??;
        anyhow::ensure!(
            tablespaces.is_empty(),
            "the cluster got a tablespace, and those cannot be backed up"
        );
        Ok(Stopped {
            stop_lsn: stop_lsn.parse()?,
            at,
            label,
        })
    }
}

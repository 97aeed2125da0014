//! Sessions that write without end, and know what they have committed.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use shared::secret::Secret;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tests::world::PATIENCE;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Mark};
use crate::machines::world::dice::Dice;
use crate::protection::world::Protected;

/// Time between two tries of a session that cannot get in.
const LOOK: Duration = Duration::from_millis(50);

/// Tables of what is committed. A counter moves with each commit of its session, so that half of a
/// transaction shows; a row that is torn does not fit its digest.
const TABLES: &str = "
    create table commits (
        session int, number int, payload text not null, digest text not null,
        primary key (session, number)
    );
    create table counters (session int primary key, commits int not null)";

/// Makes the tables: before the first backup, so that every moment that can be restored has them.
pub(super) async fn make_tables(protected: &Protected) -> anyhow::Result<()> {
    let mut customer = protected.world.connect(protected.id).await?;
    customer.execute(sqlx::raw_sql(TABLES)).await?;
    Ok(())
}

/// A session that is used up, and not what it was used for, failed.
struct Lost;

/// Sessions at work.
pub(super) struct Load {
    pub(super) ledger: Ledger,
    stop: CancellationToken,
    sessions: JoinSet<()>,
}

impl Load {
    /// Starts `sessions` that write to the database of `protected`, each at its own pace.
    pub(super) async fn start(
        protected: &Protected,
        sessions: usize,
        dice: &mut Dice,
    ) -> anyhow::Result<Self> {
        let mut load = Self {
            ledger: Ledger::of(sessions),
            stop: CancellationToken::new(),
            sessions: JoinSet::new(),
        };
        let url = protected.world.url(protected.id).await?;
        for number in 0..sessions {
            let session = Session {
                number,
                url: Secret::new(url.expose()),
                ledger: load.ledger.clone(),
                dice: Dice::new(dice.next()),
            };
            load.sessions.spawn(session.run(load.stop.clone()));
        }
        Ok(load)
    }

    /// Waits until `more` commits were acknowledged.
    pub(super) async fn until_more(&self, more: usize) -> anyhow::Result<()> {
        let (begun, wanted) = (Instant::now(), self.ledger.acknowledged() + more);
        while self.ledger.acknowledged() < wanted {
            let late = "the load does not go on";
            anyhow::ensure!(begun.elapsed() < PATIENCE, late);
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Lets every session finish its commit.
    pub(super) async fn end(mut self) -> anyhow::Result<Ledger> {
        self.stop.cancel();
        let ended = async {
            while let Some(session) = self.sessions.join_next().await {
                session.context("a session has failed")?;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, ended).await.context("end the load")??;
        Ok(self.ledger)
    }
}

struct Session {
    number: usize,
    url: Secret,
    ledger: Ledger,
    dice: Dice,
}

impl Session {
    /// Writes until `stop`; a server that is away is waited for.
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Ok(mut connection) = PgConnection::connect(self.url.expose()).await {
                while !stop.is_cancelled() && self.commit(&mut connection).await.is_ok() {
                    let pause = self.dice.millis(0, 30);
                    sleep(pause).await;
                }
            }
            if !stop.is_cancelled() {
                sleep(LOOK).await;
            }
        }
    }

    /// One transaction, committed or not, as chance wants it.
    async fn commit(&mut self, connection: &mut PgConnection) -> Result<(), Lost> {
        let number = self.ledger.next(self.number).map_err(|_| Lost)?;
        let session = i32::try_from(self.number).map_err(|_| Lost)?;
        connection.execute("begin").await?;
        // What is rolled back has a number that nobody ever sends.
        let is_taken_back = self.dice.chance(100);
        let shown = if is_taken_back { -number } else { number };
        self.write(connection, (session, shown)).await?;
        if is_taken_back {
            connection.execute("rollback").await?;
            return Ok(());
        }
        let before = mark(connection).await?;
        self.ledger.sent(self.number, before);
        connection.execute("commit").await?;
        self.ledger
            .last(self.number, |entry| entry.is_acknowledged = true);
        let after = mark(connection).await?;
        self.ledger
            .last(self.number, |entry| entry.after = Some(after));
        Ok(())
    }

    async fn write(
        &mut self,
        connection: &mut PgConnection,
        (session, number): (i32, i32),
    ) -> Result<(), Lost> {
        // Mostly small; now and then more than a page.
        let most = if self.dice.chance(50) { 400 } else { 40 };
        let pieces = i32::try_from(self.dice.below(most)).map_err(|_| Lost)?;
        let insert = "
            with made as (
                select coalesce(string_agg(gen_random_uuid()::text, ''), '') as payload
                from generate_series(1, $3)
            )
            insert into commits select $1, $2, payload, md5(payload) from made";
        sqlx::query(insert)
            .bind(session)
            .bind(number)
            .bind(pieces)
            .execute(&mut *connection)
            .await?;
        let count = "
            insert into counters values ($1, 1)
            on conflict (session) do update set commits = counters.commits + 1";
        sqlx::query(count).bind(session).execute(connection).await?;
        Ok(())
    }
}

impl From<sqlx::Error> for Lost {
    fn from(_: sqlx::Error) -> Self {
        Self
    }
}

async fn mark(connection: &mut PgConnection) -> Result<Mark, Lost> {
    let query = "select clock_timestamp(), pg_current_wal_insert_lsn()::text";
    let (at, lsn): (DateTime<Utc>, String) = sqlx::query_as(query).fetch_one(connection).await?;
    let lsn = lsn.parse().map_err(|_| Lost)?;
    Ok(Mark { at, lsn })
}

//! A follower becomes a leader with a history of its own, which begins where its replay ends.
//!
//! Nobody is let in from before PostgreSQL is told until only the roles of the spec may log in. What
//! is known of the end is durable before anybody may write; killed before, the next attempt goes on
//! from what PostgreSQL is then.

use std::time::Duration;

use anyhow::Context as _;
use shared::agent_api::restore::RestoreSource;
use shared::agent_api::{InstanceSpec, Phase};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::{Instance, Postmaster, Progress};
use crate::catalog::slots;
use crate::live::connect_locally;
use crate::render::BOOTSTRAP_ROLE;
use crate::restore::check_promotion;
use crate::store::Standing;

/// Time between two looks at a PostgreSQL that is promoted.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Longest time that PostgreSQL is given for one command.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether it replays still; the `tli` that it writes if not.
const STATE: &str = "
    select case
        when not pg_is_in_recovery()
        then left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
    end";

/// Ends the sessions of all but ourselves: of whoever the leader let in.
const END_SESSIONS: &str = "
    select count(pg_terminate_backend(pid))
    from pg_stat_activity
    where backend_type = 'client backend' and usename <> $1";

impl Instance {
    /// Does the next step of a promotion.
    pub(super) async fn promote(
        &mut self,
        spec: &InstanceSpec,
        digest: &str,
    ) -> anyhow::Result<Progress> {
        self.prepare(spec).await?;
        let state = self.agent.store.get();
        let source = state.restoring().context("a follower is restored")?;
        if let Some(progress) = self.catch_up(spec, source).await? {
            return Ok(progress);
        }
        self.agent.board.enter(Phase::Starting);
        // The way to the upstream is taken away, and so is everybody's way in.
        if !self.settle_configuration(spec).await? {
            return Ok(Progress::Again);
        }
        let port = self.postmaster.as_ref().map_or(spec.port, Postmaster::port);
        let ask = async {
            let mut connection = connect_locally(&self.agent.paths.sockets(), port).await?;
            // Before there is anything that only they will hold: the archive begins where this ends.
            slots::ensure(&mut connection, &spec.slots).await?;
            let tli = self.promote_or_tli(&mut connection).await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(tli)
        };
        let tli = timeout(PATIENCE, ask)
            .await
            .context("PostgreSQL does not answer")?
            .context("promote PostgreSQL")?;
        let Some(tli) = tli else {
            return Ok(Progress::Wait(LOOK_AGAIN));
        };
        let tli = u32::from_str_radix(&tli, 16).context("read the timeline")?;
        self.end_promotion((spec, digest), source, tli).await
    }

    /// Tells PostgreSQL to end its replay, if it has not; else gives its `tli`.
    async fn promote_or_tli(&self, connection: &mut PgConnection) -> sqlx::Result<Option<String>> {
        let tli: Option<String> = sqlx::query_scalar(STATE)
            .fetch_one(&mut *connection)
            .await?;
        if tli.is_some() {
            return Ok(tli);
        }
        // First, because PostgreSQL waits for an answer that it asked for before it looks whether it
        // is to be promoted.
        self.agent.restore.begin_promotion();
        let ended: i64 = sqlx::query_scalar(END_SESSIONS)
            .bind(BOOTSTRAP_ROLE)
            .fetch_one(&mut *connection)
            .await?;
        tracing::info!(sessions = ended, "PostgreSQL is promoted");
        sqlx::query("select pg_promote(wait => false)")
            .execute(connection)
            .await?;
        Ok(None)
    }

    /// Remembers where the history of its own began, once only the roles of the spec may log in.
    async fn end_promotion(
        &mut self,
        (spec, digest): (&InstanceSpec, &str),
        source: &RestoreSource,
        tli: u32,
    ) -> anyhow::Result<Progress> {
        let (data, of, wanted) = (self.agent.paths.data(), source.clone(), spec.promotion_tli);
        let check = move || check_promotion(&data, tli, (&of, wanted));
        let restored = match tokio::task::spawn_blocking(check).await? {
            Ok(restored) => restored,
            Err(detail) => {
                self.agent.restore.fail(spec.incarnation, detail);
                return Ok(Progress::Again);
            }
        };
        // What was known of it is from before.
        self.agent.board.show_running(None);
        self.agent.sampler.close().await;
        self.settle_catalog(spec, digest).await?;
        let noted = self.agent.store.set(|state| {
            state.restored = Some(restored);
            state.standing = Standing::Independent;
        });
        noted.await?;
        tracing::info!(tli, lsn = %restored.began_at, "the follower is a leader");
        Ok(Progress::Again)
    }
}

//! What a worker does for a restore: signs what is wanted, until it has ended.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use shared::agent_api::restore::{Leg, RestoreSource, RestoreStage, RestoreStatus, Target};
use shared::agent_api::{Birth, InstanceSpec, InstanceStatus, PROBER_ROLE, RoleSpec};
use shared::archive::manifest::Manifest;
use shared::archive::reads::{Asker, sign_reads};
use shared::ids::RequestId;
use shared::units::Lsn;
use sqlx::PgConnection;
use tests::agent_server::{AgentServer, role, spec};
use tokio::time::{Instant, sleep};

use crate::agent::archiving::World;
use crate::agent::backup::driver::back_up;

/// Longest wait for a restore.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long signatures are good.
const SIGNED_FOR: Duration = Duration::from_mins(15);

/// A server that is born from the archive of another one.
pub(in crate::agent) struct Fork {
    pub(in crate::agent) server: AgentServer,
    pub(in crate::agent) spec: InstanceSpec,
    pub(in crate::agent) source: RestoreSource,
    segment_bytes: u32,
}

/// A backup with about `bytes` of WAL behind it, up to the end that is given.
pub(super) async fn archived(bytes: u64) -> anyhow::Result<(World, Manifest, Lsn)> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    let (_, manifest) = back_up(&world).await?;
    world.write(bytes).await?;
    let end = world.push_all(start).await?;
    Ok((world, manifest, end))
}

/// A restore of a backup with one leg.
pub(in crate::agent) fn source(
    world: &World,
    manifest: &Manifest,
    end: Lsn,
    target: Target,
) -> RestoreSource {
    RestoreSource {
        postgres_major: world.spec.birth.postgres_major(),
        system_identifier: manifest.system_identifier,
        timeline: manifest.timeline,
        backup: manifest.backup,
        path: vec![Leg {
            timeline: manifest.timeline,
            run: manifest.run,
            end,
        }],
        target,
        complete_until: manifest.stopped_at,
        renames: Vec::new(),
    }
}

impl Fork {
    /// A server that was told to be born.
    pub(in crate::agent) async fn begin(
        world: &World,
        source: &RestoreSource,
    ) -> anyhow::Result<Self> {
        Self::begin_with(world, source, true).await
    }

    /// The same, whose PostgreSQL may outlive its agent.
    pub(in crate::agent) async fn begin_with(
        world: &World,
        source: &RestoreSource,
        die_with_agent: bool,
    ) -> anyhow::Result<Self> {
        let server = AgentServer::start(die_with_agent).await?;
        Self::on(world, source, server, |_| ()).await
    }

    /// The same on a given server, of the spec that `change` makes.
    pub(in crate::agent) async fn on(
        world: &World,
        source: &RestoreSource,
        server: AgentServer,
        change: impl FnOnce(&mut InstanceSpec),
    ) -> anyhow::Result<Self> {
        let mut spec = spec().await?;
        spec.birth = Birth::Restore(source.clone());
        spec.roles.push(RoleSpec {
            superuser: true,
            ..role(PROBER_ROLE)
        });
        change(&mut spec);
        server.instruct(&spec).await?;
        Ok(Self {
            server,
            spec,
            source: source.clone(),
            segment_bytes: u32::try_from(world.segment_bytes)?,
        })
    }

    /// Signs once what is wanted. Gives the status from before.
    pub(in crate::agent) async fn allow(&self, world: &World) -> anyhow::Result<InstanceStatus> {
        let status = self.server.status().await?;
        self.allow_after(world, &status, (SIGNED_FOR, Duration::ZERO))
            .await?;
        Ok(status)
    }

    /// Signs what was wanted in `status`, good for so long, and lets the agent have it that much later.
    pub(in crate::agent) async fn allow_after(
        &self,
        world: &World,
        status: &InstanceStatus,
        (valid_for, later): (Duration, Duration),
    ) -> anyhow::Result<()> {
        let wants = status.restore.as_ref().context("it is a restore")?;
        let asker = Asker {
            participant: self.spec.participant,
            generation: self.spec.generation,
            segment_bytes: self.segment_bytes,
        };
        let store = world.receiver.store();
        let reads = sign_reads(store, (&self.source, asker), wants, valid_for).await?;
        sleep(later).await;
        if let Some(reads) = reads {
            let (client, address) = (&self.server.client, self.server.address);
            client
                .allow_reads(address, &reads, RequestId::new())
                .await?
                .context("it is a restore")?;
        }
        Ok(())
    }

    /// Signs what is wanted until the status is `enough`.
    pub(in crate::agent) async fn drive(
        &self,
        world: &World,
        what: &str,
        enough: impl Fn(&InstanceStatus, &RestoreStatus) -> bool,
    ) -> anyhow::Result<InstanceStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.allow(world).await?;
            if let Some(restore) = &status.restore
                && enough(&status, restore)
            {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "not {what}: {status:#?}\n{}\n{}",
                self.server.agent_log(),
                self.server.postgres_log()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Restores to the end.
    pub(in crate::agent) async fn finish(&self, world: &World) -> anyhow::Result<InstanceStatus> {
        let generation = self.spec.generation;
        let status = self.drive(world, "finished", |status, restore| {
            status.converged_generation == generation
                || matches!(restore.stage, RestoreStage::Failed { .. })
        });
        let status = status.await?;
        match status.restore.as_ref().map(|restore| &restore.stage) {
            Some(RestoreStage::Finished(_)) => Ok(status),
            stage => bail!("{stage:?}\n{}", self.server.postgres_log()),
        }
    }

    /// Restores until that fails. Gives why.
    pub(in crate::agent) async fn fail(&self, world: &World) -> anyhow::Result<String> {
        let status = self.drive(world, "ended", |status, restore| {
            matches!(
                restore.stage,
                RestoreStage::Failed { .. } | RestoreStage::Finished(_)
            ) && (status.last_error.is_some() || status.converged_generation > 0)
        });
        let status = status.await?;
        let Some(RestoreStage::Failed { detail }) = status.restore.map(|restore| restore.stage)
        else {
            bail!("it is restored although it cannot be");
        };
        let shown = self.server.until("shown", |status| {
            let shown = status.last_error.as_ref();
            status.postgres.is_none() && shown.is_some_and(|error| error.contains(&detail))
        });
        shown.await?;
        Ok(detail)
    }

    /// A superuser's session.
    pub(in crate::agent) async fn session(&self) -> sqlx::Result<PgConnection> {
        self.server.connect(&self.spec, PROBER_ROLE, "shop").await
    }

    /// The numbers of timelines that PostgreSQL's history file of `tli` names, in order.
    pub(in crate::agent) fn tlis_before(&self, tli: u32) -> anyhow::Result<Vec<String>> {
        let name = format!("pg_wal/{tli:08X}.history");
        let history = std::fs::read_to_string(self.server.data_directory().join(name))?;
        let tlis = history.lines().filter_map(|line| line.split('\t').next());
        let tlis = tlis.filter(|tli| !tli.is_empty());
        Ok(tlis.map(str::to_owned).collect())
    }

    /// How many rows of the [`World`] it has.
    pub(in crate::agent) async fn rows(&self) -> anyhow::Result<u64> {
        let rows: i64 = sqlx::query_scalar("select count(*) from written")
            .fetch_one(&mut self.session().await?)
            .await?;
        Ok(u64::try_from(rows)?)
    }
}

/// The clock of the leader.
pub(in crate::agent) async fn now(world: &World) -> anyhow::Result<DateTime<Utc>> {
    let now = sqlx::query_scalar("select clock_timestamp()");
    Ok(now.fetch_one(&mut world.session().await?).await?)
}

//! A leader, a follower, and what a worker does for them.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context as _;
use shared::agent_api::restore::{RestoreSource, Target};
use shared::agent_api::{InstanceRole, StandbyStatus, Upstream};
use shared::ids::ServerId;
use shared::units::Lsn;

use crate::agent::archiving::{MIB, World};
use crate::agent::backup::driver::back_up;
use crate::agent::restore::driver::{Fork, source};

/// A leader with a backup in the archive, all WAL up to `watermark`, and a way to there.
pub(super) struct Fleet {
    pub(super) world: World,
    pub(super) source: RestoreSource,
    pub(super) watermark: Lsn,
}

impl Fleet {
    pub(super) async fn start() -> anyhow::Result<Self> {
        Self::with_settings(&[]).await
    }

    pub(super) async fn with_settings(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let world = World::with_segments(1, settings).await?;
        let start = world.start_of_slot().await?;
        let (_, manifest) = back_up(&world).await?;
        world.write(2 * MIB).await?;
        let watermark = world.push_all(start).await?;
        Ok(Self {
            source: source(&world, &manifest, watermark, Target::End),
            world,
            watermark,
        })
    }

    /// A follower that streams from a port of this machine, if it does. Nobody lets it yet.
    pub(super) async fn follow(
        &self,
        port: Option<u16>,
        die_with_agent: bool,
    ) -> anyhow::Result<Fork> {
        let server = self.world.server.start_beside(die_with_agent).await?;
        let upstream = port.map(|port| self.upstream(port));
        Fork::on(&self.world, &self.source, server, |spec| {
            spec.role = InstanceRole::Follower;
            spec.upstream = upstream;
        })
        .await
    }

    /// One that streams.
    pub(super) async fn stream(&mut self, die_with_agent: bool) -> anyhow::Result<Fork> {
        let port = self.world.spec.port;
        let follower = self.follow(Some(port), die_with_agent).await?;
        self.let_stream(&[follower.server.address.server]).await?;
        self.until_streaming(&follower).await?;
        Ok(follower)
    }

    pub(super) fn upstream(&self, port: u16) -> Upstream {
        Upstream {
            server: self.world.server.address.server,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port,
        }
    }

    /// Instructs the leader to let these servers stream, and nobody else.
    pub(super) async fn let_stream(&mut self, streamers: &[ServerId]) -> anyhow::Result<()> {
        self.world.spec.generation += 1;
        self.world.spec.streamers = streamers.to_vec();
        self.world.server.converge(&self.world.spec).await?;
        Ok(())
    }

    /// Waits until a follower streams, and has replayed all that is flushed now.
    pub(super) async fn until_streaming(&self, follower: &Fork) -> anyhow::Result<StandbyStatus> {
        let leader = self.world.server.address.server;
        let goal = self.world.flush_lsn().await?;
        let status = follower.drive(&self.world, "streaming", |status, _| {
            status.standby().is_some_and(|standby| {
                standby.streams_from == Some(leader) && standby.replay_lsn >= Some(goal)
            }) && status.converged_generation == follower.spec.generation
        });
        status
            .await?
            .postgres
            .and_then(|it| it.standby)
            .context("it follows")
    }

    /// Waits until a follower has replayed up to `goal`, from wherever.
    pub(super) async fn until_replayed(&self, follower: &Fork, goal: Lsn) -> anyhow::Result<()> {
        follower
            .drive(&self.world, "caught up", |status, _| {
                status
                    .standby()
                    .is_some_and(|standby| standby.replay_lsn >= Some(goal))
            })
            .await
            .map(drop)
    }

    /// Writes, and brings all of it to the archive.
    pub(super) async fn write_and_push(&mut self, bytes: u64) -> anyhow::Result<Lsn> {
        self.world.write(bytes).await?;
        self.watermark = self.world.push_all(self.watermark).await?;
        Ok(self.watermark)
    }
}

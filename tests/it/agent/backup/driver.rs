//! What a worker does for a backup: signs the places that are wanted, until it has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::agent_api::InstanceSpec;
use shared::agent_api::backup::{BackupOrder, BackupPhase, BackupStatus, WritePlace};
use shared::agent_api::client::AgentError;
use shared::archive::frame::{self, Content};
use shared::archive::manifest::Manifest;
use shared::ids::{BackupId, RequestId};
use tests::agent_server::AgentServer;
use tokio::time::{Instant, sleep};

use crate::agent::archiving::{RUN, World};

/// Longest wait for a backup.
const PATIENCE: Duration = Duration::from_mins(3);

/// Whom a backup is taken from, and whose archive it goes to.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) world: &'a World,
    pub(crate) server: &'a AgentServer,
    pub(crate) spec: &'a InstanceSpec,
}

impl<'a> From<&'a World> for Subject<'a> {
    fn from(world: &'a World) -> Self {
        Self {
            world,
            server: &world.server,
            spec: &world.spec,
        }
    }
}

/// An order without places for pieces.
pub(crate) async fn order(
    of: impl Into<Subject<'_>>,
    backup: BackupId,
) -> anyhow::Result<BackupOrder> {
    let Subject { world, spec, .. } = of.into();
    Ok(BackupOrder {
        backup,
        participant: spec.participant,
        generation: spec.generation,
        timeline: world.prefix.timeline,
        system_identifier: world.prefix.system_identifier,
        run: RUN,
        pieces: BTreeMap::new(),
        manifest: place(world, &world.prefix.backup_manifest(backup)).await?,
    })
}

async fn place(world: &World, key: &str) -> anyhow::Result<WritePlace> {
    let (put, get) = world.receiver.sign(key).await?;
    Ok(WritePlace { put, get })
}

/// Makes a call.
pub(crate) async fn send(
    of: impl Into<Subject<'_>>,
    order: &BackupOrder,
) -> Result<BackupStatus, AgentError> {
    let server = of.into().server;
    let (client, address) = (&server.client, server.address);
    client.order_backup(address, order, RequestId::new()).await
}

/// `GET /v1/backup`.
pub(super) async fn status(world: &World) -> Result<Option<BackupStatus>, AgentError> {
    let (client, address) = (&world.server.client, world.server.address);
    client.backup_status(address, RequestId::new()).await
}

/// Orders a backup and brings what it wants, until `enough`.
pub(crate) async fn drive(
    of: impl Into<Subject<'_>>,
    backup: BackupId,
    enough: impl Fn(&BackupStatus) -> bool,
) -> anyhow::Result<BackupStatus> {
    let subject = of.into();
    let world = subject.world;
    let deadline = Instant::now() + PATIENCE;
    let mut order = order(subject, backup).await?;
    loop {
        let status = send(subject, &order).await?;
        ensure!(status.backup == backup);
        if enough(&status) || status.phase != BackupPhase::Running {
            return Ok(status);
        }
        ensure!(
            Instant::now() < deadline,
            "not yet: {status:#?}\n{}",
            subject.server.agent_log()
        );
        order.pieces.clear();
        for number in status.wants_pieces {
            let key = world.prefix.backup_piece(backup, number);
            order.pieces.insert(number, place(world, &key).await?);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Makes a whole backup. Gives its manifest.
pub(crate) async fn back_up(
    of: impl Into<Subject<'_>>,
) -> anyhow::Result<(BackupStatus, Manifest)> {
    let subject = of.into();
    let world = subject.world;
    let backup = BackupId::new();
    let status = drive(subject, backup, |_| false).await?;
    ensure!(
        matches!(status.phase, BackupPhase::Finished { .. }),
        "{status:#?}"
    );
    let objects = world.receiver.objects().await?;
    let object = objects.get(&world.prefix.backup_manifest(backup));
    let (metadata, json) = frame::decode(object.context("the manifest is there")?)?;
    ensure!(metadata.content == Content::BackupManifest { backup });
    Ok((status, serde_json::from_slice(&json)?))
}

//! What a worker does for a base backup: it signs the places that are wanted, until it has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use shared::agent_api::backup::{BackupOrder, BackupPhase, BackupStatus, WritePlace};
use shared::archive::frame;
use shared::archive::layout::Prefix;
use shared::archive::manifest::Manifest;
use shared::archive::store::ObjectStore as _;
use shared::ids::{BackupId, RequestId};
use tokio::time::sleep;

use super::pushing::RUN;
use super::{Server, Store};

/// How long places are good.
const SIGNED_FOR: Duration = Duration::from_mins(10);

/// Makes a base backup, with a look every `pause`, as workers do it.
pub(crate) async fn back_up(
    server: &Server,
    store: &Store,
    prefix: Prefix,
    pause: Duration,
) -> anyhow::Result<(BackupStatus, Manifest)> {
    let backup = BackupId::new();
    let mut order = BackupOrder {
        backup,
        participant: server.spec.participant,
        generation: server.spec.generation,
        timeline: prefix.timeline,
        system_identifier: prefix.system_identifier,
        run: RUN,
        pieces: BTreeMap::new(),
        manifest: place(store, &prefix.backup_manifest(backup)).await?,
    };
    loop {
        let (client, address) = (&server.client, server.address);
        let status = client
            .order_backup(address, &order, RequestId::new())
            .await?;
        ensure!(status.backup == backup, "another backup is made");
        match &status.phase {
            BackupPhase::Running => {}
            BackupPhase::Finished { .. } => {
                let key = prefix.backup_manifest(backup);
                let object = store.client.get(&key, None).await?;
                let (_, json) = frame::decode(&object.context("the manifest is there")?)?;
                return Ok((status, serde_json::from_slice(&json)?));
            }
            BackupPhase::Failed { detail } => bail!("{detail}: {}", server.log()),
        }
        order.pieces.clear();
        for number in status.wants_pieces {
            let key = prefix.backup_piece(backup, number);
            order.pieces.insert(number, place(store, &key).await?);
        }
        sleep(pause).await;
    }
}

async fn place(store: &Store, key: &str) -> anyhow::Result<WritePlace> {
    Ok(WritePlace {
        put: store.client.sign_put(key, SIGNED_FOR).await?,
        get: store.client.sign_get(key, SIGNED_FOR).await?,
    })
}

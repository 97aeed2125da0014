//! What a worker does for a restore: it signs what is wanted, until that has ended.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use shared::agent_api::Birth;
use shared::agent_api::restore::{Leg, RestoreSource, RestoreStage, Target};
use shared::archive::manifest::Manifest;
use shared::archive::reads::{Asker, sign_reads};
use shared::ids::RequestId;
use shared::units::Lsn;
use tokio::time::{Instant, sleep};

use super::{Server, Store};

/// How long requests are good.
const SIGNED_FOR: Duration = Duration::from_mins(10);

/// Time between two looks while WAL is replayed: short, to see how far ahead of it is fetched.
const REPLAY_LOOK: Duration = Duration::from_millis(20);

/// How long the parts of a restore took.
#[derive(Debug, Clone)]
pub(crate) struct Took {
    /// Until all files were in place, durably.
    pub(crate) fetching: Duration,
    /// From then on until the database served.
    pub(crate) replaying: Duration,
    /// How WAL came meanwhile.
    pub(crate) wal: Vec<Seen>,
}

/// What one look saw of WAL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Since the files were in place.
    pub(crate) at: Duration,
    /// Fetched up to here.
    pub(crate) fetched: Lsn,
    /// Asked for by PostgreSQL up to here.
    pub(crate) replayed: Lsn,
}

/// A restore of the whole history up to `end`.
pub(crate) fn source(manifest: &Manifest, end: Lsn) -> anyhow::Result<RestoreSource> {
    let major = manifest.postgres_version.split('.').next();
    Ok(RestoreSource {
        postgres_major: major.context("a version begins with a number")?.parse()?,
        system_identifier: manifest.system_identifier,
        timeline: manifest.timeline,
        backup: manifest.backup,
        path: vec![Leg {
            timeline: manifest.timeline,
            run: manifest.run,
            end,
        }],
        target: Target::End,
        complete_until: manifest.stopped_at,
        renames: Vec::new(),
    })
}

/// Restores into a server of its own, with a look every `pause`.
pub(crate) async fn restore(
    agent: &Path,
    store: &Store,
    (manifest, source): (&Manifest, RestoreSource),
    pause: Duration,
) -> anyhow::Result<(Server, Took)> {
    let server = Server::start(agent, Some(Birth::Restore(source.clone()))).await?;
    let asker = Asker {
        participant: server.spec.participant,
        generation: server.spec.generation,
        segment_bytes: u32::try_from(manifest.wal_segment_bytes)?,
    };
    let begun = Instant::now();
    let mut fetched = None;
    let mut wal = Vec::new();
    loop {
        let status = server.status().await?;
        let restore = status.restore.as_ref();
        if let Some(restore) = restore {
            match &restore.stage {
                RestoreStage::Fetching => {}
                RestoreStage::Failed { detail } => bail!("{detail}: {}", server.log()),
                RestoreStage::Replaying | RestoreStage::Finished(_) => {
                    let since = *fetched.get_or_insert_with(|| begun.elapsed());
                    let reached = restore.fetched_lsn.zip(restore.replay_lsn);
                    wal.extend(reached.map(|(fetched, replayed)| Seen {
                        at: begun.elapsed().saturating_sub(since),
                        fetched,
                        replayed,
                    }));
                }
            }
            if let (Some(fetching), true) = (
                fetched,
                status.converged_generation == server.spec.generation,
            ) {
                let replaying = begun.elapsed().saturating_sub(fetching);
                let took = Took {
                    fetching,
                    replaying,
                    wal,
                };
                return Ok((server, took));
            }
            let reads = sign_reads(&store.client, (&source, asker), restore, SIGNED_FOR).await?;
            if let Some(reads) = reads {
                let (client, address) = (&server.client, server.address);
                client
                    .allow_reads(address, &reads, RequestId::new())
                    .await?;
            }
        }
        sleep(fetched.map_or(pause, |_| REPLAY_LOOK)).await;
    }
}

//! A backup from its beginning to its end.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use shared::agent_api::backup::{BackupOrder, BackupPhase};
use shared::archive::frame::{self, Content, Label, object_bytes_max};
use shared::archive::manifest::{Manifest, Part};
use tokio::task::JoinSet;

use super::listing::Listing;
use super::packing::pack;
use super::places::MANIFEST;
use super::progress::Progress;
use super::session::{Session, Started, Stopped};
use super::tar_stream::{Cluster, PIECE_BYTES_MAX, TarStream};
use super::uploading::upload;
use crate::archive::{Archive, Reserved};
use crate::board::Running;

/// Most parts that are made at once.
const PARTS_AT_ONCE: usize = 4;

/// Most pieces of one part that are uploaded while the next is made.
const UPLOADS_AT_ONCE: usize = 3;

/// How much zstd tries. Measured on the largest table of pgbench: level 1 makes the smallest objects
/// of 1 to 5, and takes about the least time.
const LEVEL: i32 = 1;

/// Most damaged pages that the manifest names.
const DAMAGED_PAGES_NAMED: usize = 100;

/// What a backup works with.
pub(super) struct Work {
    pub(super) archive: Arc<Archive>,
    pub(super) progress: Arc<Progress>,
    pub(super) sockets: PathBuf,
    pub(super) data: PathBuf,
    pub(super) running: Running,
    pub(super) segment_bytes: u64,
    pub(super) order: BackupOrder,
}

/// Parts that are in the archive.
#[derive(Default)]
struct Packed {
    directories: Vec<String>,
    parts: Vec<Part>,
    damaged_pages: Vec<String>,
}

/// A part that is in the archive: its stream, and the numbers of its pieces.
type Done = (TarStream, Vec<u32>);

/// A piece that is ready to go.
struct Ready {
    number: u32,
    object: Bytes,
    file_bytes: u64,
    /// The memory of the object.
    _reserved: Reserved,
}

impl Work {
    /// Makes the backup. Gives the phase that it ends in.
    pub(super) async fn run(self: Arc<Self>) -> BackupPhase {
        match self.make().await {
            Ok(phase) => phase,
            Err(error) => BackupPhase::Failed {
                detail: format!("{error:#}"),
            },
        }
    }

    async fn make(self: &Arc<Self>) -> anyhow::Result<BackupPhase> {
        let postgres = (self.sockets.as_path(), self.running.port);
        let (mut session, started) = Session::start(postgres, &self.order.backup.to_string())
            .await
            .context("failed to begin the backup in PostgreSQL")?;
        let packed = tokio::select! {
            packed = self.pack(&started) => packed?,
            error = session.lost() => return Err(error),
        };
        let stopped = session
            .stop()
            .await
            .context("failed to end the backup in PostgreSQL")?;
        let damaged_pages = u64::try_from(packed.damaged_pages.len())?;
        let manifest = self.manifest(packed, &started, &stopped)?;
        let label = self.label(Content::BackupManifest {
            backup: self.order.backup,
        });
        let json = serde_json::to_vec(&manifest).context("failed to write the manifest")?;
        let object = Bytes::from(frame::encode(&label, &json, LEVEL)?);
        let object_bytes = u64::try_from(object.len())?;
        upload(&self.archive, &self.progress.places, MANIFEST, object)
            .await
            .map_err(anyhow::Error::msg)
            .context("failed to upload the manifest")?;
        self.progress.stored(0, object_bytes);
        Ok(BackupPhase::Finished {
            start_lsn: manifest.start_lsn,
            stop_lsn: manifest.stop_lsn,
            started_at: manifest.started_at,
            stopped_at: manifest.stopped_at,
            damaged_pages,
        })
    }

    /// Lists the files, and brings all of them into the archive.
    async fn pack(self: &Arc<Self>, started: &Started) -> anyhow::Result<Packed> {
        let cluster = Arc::new(Cluster {
            data: self.data.clone(),
            checksums: started.checksums,
            page_bytes: started.page_bytes,
            pages_per_file: started.pages_per_file,
            start_lsn: started.start_lsn,
        });
        let data = self.data.clone();
        let listing = tokio::task::spawn_blocking(move || Listing::of(&data))
            .await?
            .context("failed to list the data directory")?;
        self.progress.listed(listing.bytes());
        let (parts, control) = pack(listing.files);
        let mut packed = Packed {
            directories: listing.directories,
            ..Packed::default()
        };
        let mut under_way: JoinSet<anyhow::Result<Done>> = JoinSet::new();
        for part in parts {
            if under_way.len() == PARTS_AT_ONCE
                && let Some(done) = under_way.join_next().await
            {
                packed.add(done??);
            }
            let stream = TarStream::new(&cluster, part);
            under_way.spawn(Arc::clone(self).part(stream));
        }
        while let Some(done) = under_way.join_next().await {
            packed.add(done??);
        }
        ensure!(!control.is_empty(), "there is no control file");
        let last = Arc::clone(self).part(TarStream::new(&cluster, control));
        packed.add(last.await?);
        self.progress.places.complete();
        Ok(packed)
    }

    /// Makes a part and uploads it: the next piece is made while others are on their way.
    async fn part(self: Arc<Self>, mut stream: TarStream) -> anyhow::Result<Done> {
        let mut pieces = Vec::new();
        let mut uploads: JoinSet<anyhow::Result<()>> = JoinSet::new();
        loop {
            let ready;
            (stream, ready) = self.next(stream).await?;
            let Some(ready) = ready else {
                break;
            };
            pieces.push(ready.number);
            if uploads.len() == UPLOADS_AT_ONCE
                && let Some(done) = uploads.join_next().await
            {
                done??;
            }
            uploads.spawn(Arc::clone(&self).bring(ready));
        }
        while let Some(done) = uploads.join_next().await {
            done??;
        }
        Ok((stream, pieces))
    }

    /// Makes the next piece of a stream; none at its end.
    async fn next(&self, mut stream: TarStream) -> anyhow::Result<(TarStream, Option<Ready>)> {
        let most = PIECE_BYTES_MAX + object_bytes_max(PIECE_BYTES_MAX);
        let mut reserved = self.archive.reserve(most).await;
        let progress = Arc::clone(&self.progress);
        let backup = self.order.backup;
        let label = self.label(Content::BackupManifest { backup });
        let made = self.archive.compute(move || {
            let piece = stream.next_piece().context("failed to read the files")?;
            let Some(piece) = piece else {
                return Ok((stream, None));
            };
            let number = progress.begin_piece();
            let label = Label {
                content: Content::BackupPiece { backup, number },
                ..label
            };
            let object = frame::encode(&label, &piece.plain, LEVEL)?;
            reserved.shrink_to(object.len());
            let ready = Ready {
                number,
                object: Bytes::from(object),
                file_bytes: piece.file_bytes,
                _reserved: reserved,
            };
            Ok((stream, Some(ready)))
        });
        made.await?
    }

    /// Brings a piece into the archive.
    async fn bring(self: Arc<Self>, ready: Ready) -> anyhow::Result<()> {
        let (places, number) = (&self.progress.places, ready.number);
        upload(&self.archive, places, number, ready.object.clone())
            .await
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("failed to upload piece {number}"))?;
        let object_bytes = u64::try_from(ready.object.len())?;
        self.progress.stored(ready.file_bytes, object_bytes);
        Ok(())
    }

    fn label(&self, content: Content) -> Label {
        Label {
            timeline: self.order.timeline,
            system_identifier: self.order.system_identifier,
            content,
        }
    }

    fn manifest(
        &self,
        packed: Packed,
        started: &Started,
        stopped: &Stopped,
    ) -> anyhow::Result<Manifest> {
        let line = format!("START TIMELINE: {}", self.order.run.tli);
        ensure!(
            stopped.label.lines().any(|each| each == line),
            "the backup is on another timeline than {}",
            self.order.run.tli
        );
        let mut damaged_pages = packed.damaged_pages;
        damaged_pages.truncate(DAMAGED_PAGES_NAMED);
        Ok(Manifest {
            backup: self.order.backup,
            timeline: self.order.timeline,
            system_identifier: self.order.system_identifier,
            run: self.order.run,
            start_lsn: started.start_lsn,
            stop_lsn: stopped.stop_lsn,
            started_at: started.at,
            stopped_at: stopped.at,
            postgres_version: self.running.version.clone(),
            wal_segment_bytes: self.segment_bytes,
            backup_label: stopped.label.clone(),
            directories: packed.directories,
            parts: packed.parts,
            damaged_pages,
        })
    }
}

impl Packed {
    fn add(&mut self, (stream, pieces): Done) {
        self.damaged_pages.extend(stream.damaged_pages);
        self.parts.push(Part {
            pieces,
            bytes: stream.bytes,
            files: stream.files,
        });
    }
}

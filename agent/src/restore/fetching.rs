//! The files of a backup, on their way into the data directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use shared::agent_api::restore::RestoreSource;
use shared::archive::frame::{self, CONTENT_BYTES_MAX, Content, Metadata};
use shared::archive::manifest::{Manifest, Part};
use shared::process::make_durable_as;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::flushing::Flushing;
use super::journal::{Heading, Journal};
use super::objects::{Object, Reader, Unread, memory_for};
use super::unpacking::{self, Unpacking, file_bytes};
use super::{Board, Reading, ending};
use crate::agent::Agent;
use crate::archive::Reserved;
use crate::durable_file::replace_durably;

/// Most parts that are unpacked at once.
const PARTS_AT_ONCE: usize = 4;

/// Most pieces of one part that are fetched while one is unpacked.
const PIECES_AT_ONCE: usize = 3;

/// For how many pieces of one part requests are asked for ahead.
const PIECES_AHEAD: usize = 16;

/// Largest piece that an agent makes; others may make larger ones.
const PIECE_BYTES: usize = 17 * 1024 * 1024;

/// Pause before a request that was refused is asked for again.
const REFUSED_PAUSE: Duration = Duration::from_millis(250);

/// The manifest as it was read, below the directory of a restore.
const MANIFEST: &str = "manifest.json.zst";

/// What is in place.
const JOURNAL: &str = "journal";

/// The work, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Fetching(JoinSet<anyhow::Result<()>>);

impl Fetching {
    /// Fetches everything that is not in place yet, gives the data directory its name, and wakes the
    /// instance at the end. What cannot be restored is noted on the board.
    pub(crate) fn begin(agent: &Arc<Agent>, source: &RestoreSource, incarnation: u64) -> Self {
        let mut task = JoinSet::new();
        let (agent, source) = (Arc::clone(agent), source.clone());
        task.spawn(async move {
            let outcome = fetch(&agent, &source, incarnation).await;
            agent.wake.notify_one();
            outcome
        });
        Self(task)
    }

    /// What became of it; none while it goes on.
    pub(crate) fn outcome(&mut self) -> Option<anyhow::Result<()>> {
        let outcome = self.0.try_join_next()?;
        Some(outcome.unwrap_or_else(|error| Err(error.into())))
    }
}

/// The manifest that the files in place are from.
///
/// # Errors
/// It was not kept, or it is damaged.
pub(crate) fn manifest_of(directory: &Path) -> anyhow::Result<Manifest> {
    let object = fs::read(directory.join(MANIFEST)).context("read the kept manifest")?;
    let (_, json) = frame::decode(&object)?;
    Ok(serde_json::from_slice(&json)?)
}

async fn fetch(agent: &Arc<Agent>, source: &RestoreSource, incarnation: u64) -> anyhow::Result<()> {
    let board = &agent.restore;
    board.begin_fetching();
    let directory = agent.paths.restore();
    agent.account.make_private_directory(&directory)?;
    let work = Work {
        agent: Arc::clone(agent),
        source: source.clone(),
    };
    let fetched = async {
        let (metadata, manifest) = work.manifest(&directory).await?;
        check(source, &manifest).map_err(Trouble::Final)?;
        let files = work.begin_files(&directory, metadata, manifest).await?;
        let files = Arc::new(files);
        let parts = 0..files.manifest.parts.len();
        stream::iter(parts.map(|part| work.part(&files, part)))
            .buffer_unordered(PARTS_AT_ONCE)
            .try_collect::<()>()
            .await?;
        work.finish(&files).await.map_err(Trouble::Passing)
    };
    match fetched.await {
        Ok(()) => Ok(()),
        Err(Trouble::Passing(error)) => Err(error),
        Err(Trouble::Final(detail)) => {
            board.fail(incarnation, detail);
            Ok(())
        }
    }
}

/// Why the files are not in place.
enum Trouble {
    /// It may work when it is begun again: something of this machine.
    Passing(anyhow::Error),
    /// It will never work.
    Final(String),
}

impl<E: Into<anyhow::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Passing(error.into())
    }
}

/// What a backup must be, to be restored.
fn check(source: &RestoreSource, manifest: &Manifest) -> Result<(), String> {
    let major = manifest.postgres_version.split('.').next();
    if major != Some(source.postgres_major.to_string().as_str()) {
        return Err(format!(
            "the backup is of PostgreSQL {}, not {}",
            manifest.postgres_version, source.postgres_major
        ));
    }
    let segment = manifest.wal_segment_bytes;
    if !segment.is_power_of_two() || !(1 << 20..=1 << 30).contains(&segment) {
        return Err(format!("the backup has WAL segments of {segment} bytes"));
    }
    unpacking::check(manifest).map_err(|error| error.to_string())?;
    ending::check_target(source, manifest)
}

struct Work {
    agent: Arc<Agent>,
    source: RestoreSource,
}

/// The files on their way.
#[derive(Debug)]
struct Files {
    manifest: Manifest,
    journal: Journal,
    /// Bytes of the pieces that were in place when this began.
    done: BTreeMap<u32, u64>,
    /// Where the files are until all are there.
    unfinished: PathBuf,
    disk: Arc<Flushing>,
    /// Largest piece, in bytes of its content.
    piece_bytes: usize,
}

impl Work {
    fn board(&self) -> &Board {
        &self.agent.restore
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            archive: &self.agent.archive,
            board: self.board(),
        }
    }

    /// The manifest: the kept one, or that of the archive, which is kept then.
    async fn manifest(&self, directory: &Path) -> Result<(Metadata, Manifest), Trouble> {
        let path = directory.join(MANIFEST);
        let kept = fs::read(&path).ok();
        let kept = kept.and_then(|object| frame::decode(&object).ok());
        let kept = kept.filter(|(metadata, _)| self.is_manifest(metadata).is_ok());
        let (metadata, json) = if let Some(kept) = kept {
            kept
        } else {
            let object = self.fetch_manifest().await?;
            let label = frame::Label {
                timeline: object.metadata.timeline,
                system_identifier: object.metadata.system_identifier,
                content: object.metadata.content.clone(),
            };
            replace_durably(&path, &frame::encode(&label, &object.plain, 1)?)?;
            (object.metadata, object.plain)
        };
        let key = self.source.prefix().backup_manifest(self.source.backup);
        let manifest: Manifest = serde_json::from_slice(&json)
            .map_err(|error| Trouble::Final(format!("{key} is not understood: {error}")))?;
        let told = (
            manifest.backup,
            manifest.timeline,
            manifest.system_identifier,
        );
        let source = &self.source;
        if told != (source.backup, source.timeline, source.system_identifier) {
            return Err(Trouble::Final(format!("{key} is of another backup")));
        }
        Ok((metadata, manifest))
    }

    async fn fetch_manifest(&self) -> Result<Object, Trouble> {
        let key = self.source.prefix().backup_manifest(self.source.backup);
        let mut reserved = self
            .agent
            .archive
            .reserve(memory_for(CONTENT_BYTES_MAX))
            .await;
        self.board().lock().manifest = Reading::Wanted;
        loop {
            let signed = self.board().until(|state| match &state.manifest {
                Reading::Signed(signed) => Some(signed.clone()),
                Reading::NotNeeded | Reading::Wanted => None,
            });
            let from = (key.as_str(), &signed.await);
            let is_right = |metadata: &Metadata| self.is_manifest(metadata);
            let read = self
                .reader()
                .read(from, CONTENT_BYTES_MAX, &mut reserved, is_right)
                .await;
            match read {
                Ok((metadata, plain)) => {
                    self.board().lock().manifest = Reading::NotNeeded;
                    return Ok(Object {
                        metadata,
                        plain,
                        _reserved: reserved,
                    });
                }
                Err(Unread::Refused(detail)) => {
                    self.board().note_trouble(Some(format!("{key}: {detail}")));
                    self.board().lock().manifest = Reading::Wanted;
                    sleep(REFUSED_PAUSE).await;
                }
                Err(other) => return Err(lost(&key, other)),
            }
        }
    }

    fn is_manifest(&self, metadata: &Metadata) -> Result<(), String> {
        let backup = self.source.backup;
        self.is_content(metadata, &Content::BackupManifest { backup })
    }

    fn is_content(&self, metadata: &Metadata, content: &Content) -> Result<(), String> {
        let source = &self.source;
        let is_right = metadata.timeline == source.timeline
            && metadata.system_identifier == source.system_identifier
            && metadata.content == *content;
        is_right
            .then_some(())
            .ok_or_else(|| "it is another object than its name says".to_owned())
    }

    /// Finds out what is in place, and makes room for the rest.
    async fn begin_files(
        &self,
        directory: &Path,
        metadata: Metadata,
        manifest: Manifest,
    ) -> Result<Files, Trouble> {
        let heading = Heading {
            boot_id: self.agent.boot_id.clone(),
            backup: self.source.backup,
            manifest: metadata.sha256,
        };
        let unfinished = shared::process::Initdb::unfinished(&self.agent.paths.data());
        let path = directory.join(JOURNAL);
        let account = self.agent.account.clone();
        let begin = move || -> anyhow::Result<Files> {
            if !unfinished.exists() {
                crate::instance::ignore_absence(fs::remove_file(&path))?;
            }
            let (journal, done) = Journal::open(&path, &heading).context("open the journal")?;
            if done.is_empty() {
                crate::instance::ignore_absence(fs::remove_dir_all(&unfinished))?;
            }
            unpacking::make_directories(&manifest, &unfinished, &account)?;
            let disk = Flushing::of(&unfinished)?;
            let is_usual = |part: &Part| {
                let most = PIECE_BYTES.saturating_mul(part.pieces.len());
                part.bytes <= u64::try_from(most).unwrap_or(u64::MAX)
            };
            let piece_bytes = if manifest.parts.iter().all(is_usual) {
                PIECE_BYTES
            } else {
                CONTENT_BYTES_MAX
            };
            Ok(Files {
                manifest,
                journal,
                done,
                unfinished,
                disk,
                piece_bytes,
            })
        };
        let files = spawn_blocking(begin).await??;
        let in_place = files.manifest.parts.iter().map(|part| {
            let (_, offset) = resume(part, &files.done);
            file_bytes(part, offset)
        });
        let (done, total) = (in_place.sum(), files.manifest.bytes());
        let mut state = self.board().lock();
        (state.bytes_done, state.bytes_total) = (done, total);
        drop(state);
        let needed = total.saturating_sub(done);
        match files.disk.lacks(needed)? {
            Some(detail) => Err(Trouble::Final(detail)),
            None => Ok(files),
        }
    }

    /// Fetches the pieces of a part, several at once, and unpacks them in order.
    async fn part(&self, files: &Arc<Files>, number: usize) -> Result<(), Trouble> {
        let part = files
            .manifest
            .parts
            .get(number)
            .context("a part by its number")?;
        let (first, mut offset) = resume(part, &files.done);
        let left = part.pieces.get(first..).unwrap_or_default();
        self.want(left.iter().take(PIECES_AHEAD));
        let mut ahead = left.iter().skip(PIECES_AHEAD);
        let pieces = left.iter().copied();
        let pieces = pieces.map(|piece| self.piece(files, piece));
        let mut pieces = stream::iter(pieces).buffered(PIECES_AT_ONCE);
        while let Some(piece) = pieces.next().await {
            let (piece, object) = piece?;
            self.want(ahead.next().into_iter());
            let length = u64::try_from(object.plain.len())?;
            self.unpack((files, number), (piece, object), offset)
                .await?;
            let bytes = file_bytes(part, offset + length) - file_bytes(part, offset);
            self.board().lock().bytes_done += bytes;
            offset += length;
        }
        if offset != part.bytes {
            let prefix = self.source.prefix().backup(self.source.backup);
            return Err(Trouble::Final(format!(
                "{prefix}: the pieces {:?} have {offset} bytes, and the manifest says {}",
                part.pieces, part.bytes
            )));
        }
        Ok(())
    }

    /// Asks for requests for pieces.
    fn want<'a>(&self, pieces: impl Iterator<Item = &'a u32>) {
        self.board().lock().wanted.extend(pieces);
    }

    /// Fetches a piece. Memory is set aside first, in the order of the pieces: one that has it never
    /// waits for one that does not.
    async fn piece(&self, files: &Files, number: u32) -> Result<(u32, Object), Trouble> {
        let source = &self.source;
        let key = source.prefix().backup_piece(source.backup, number);
        let backup = source.backup;
        let content = Content::BackupPiece { backup, number };
        let mut reserved: Reserved = self
            .agent
            .archive
            .reserve(memory_for(files.piece_bytes))
            .await;
        loop {
            let signed = self
                .board()
                .until(|state| state.pieces.remove(&number))
                .await;
            let is_right = |metadata: &Metadata| self.is_content(metadata, &content);
            let from = (key.as_str(), &signed);
            let read = self
                .reader()
                .read(from, files.piece_bytes, &mut reserved, is_right)
                .await;
            match read {
                Ok((metadata, plain)) => {
                    let object = Object {
                        metadata,
                        plain,
                        _reserved: reserved,
                    };
                    return Ok((number, object));
                }
                Err(Unread::Refused(detail)) => {
                    self.board().note_trouble(Some(format!("{key}: {detail}")));
                    sleep(REFUSED_PAUSE).await;
                    self.want([number].iter());
                }
                Err(other) => return Err(lost(&key, other)),
            }
        }
    }

    async fn unpack(
        &self,
        (files, part): (&Arc<Files>, usize),
        (number, object): (u32, Object),
        offset: u64,
    ) -> Result<(), Trouble> {
        let (files, account) = (Arc::clone(files), self.agent.account.clone());
        let unpack = move || -> anyhow::Result<Result<(), String>> {
            let part = files
                .manifest
                .parts
                .get(part)
                .context("a part by its number")?;
            let unpacking = Unpacking {
                part,
                data: files.unfinished.clone(),
                account: &account,
            };
            if let Err(error) = unpacking.write(&object.plain, offset) {
                // A disk that is full says nothing about the object.
                return match error.downcast::<std::io::Error>() {
                    Ok(error) => Err(error.into()),
                    Err(error) => Ok(Err(format!("{error:#}"))),
                };
            }
            let length = u64::try_from(object.plain.len())?;
            files.journal.note(number, length).context("note a piece")?;
            files.disk.wrote(length);
            Ok(Ok(()))
        };
        // Not one of those that wait for a processor: while this is waited for, nobody drives the
        // pieces behind it, and one of them may have been given the processor.
        let unpacked = spawn_blocking(unpack).await??;
        unpacked.map_err(|detail| {
            let prefix = self.source.prefix();
            let key = prefix.backup_piece(self.source.backup, number);
            Trouble::Final(format!("{key} does not belong to its backup: {detail}"))
        })
    }

    /// Checks all files, writes what recovery begins from, and gives the directory its name.
    async fn finish(&self, files: &Arc<Files>) -> anyhow::Result<()> {
        let (files, account) = (Arc::clone(files), self.agent.account.clone());
        let unfinished = files.unfinished.clone();
        let journal = self.agent.paths.restore().join(JOURNAL);
        let check = move || -> anyhow::Result<()> {
            for part in &files.manifest.parts {
                let unpacking = Unpacking {
                    part,
                    data: files.unfinished.clone(),
                    account: &account,
                };
                unpacking.finish()?;
            }
            let label = files.manifest.backup_label.as_str();
            for (name, content) in [("backup_label", label), ("recovery.signal", "")] {
                let path = files.unfinished.join(name);
                replace_durably(&path, content.as_bytes())?;
                account.give(&path)?;
            }
            ensure!(
                files.unfinished.join("PG_VERSION").exists(),
                "there is no PG_VERSION"
            );
            if let Err(error) = files.disk.finish() {
                // What the journal says is in place may not be: everything is fetched again.
                fs::remove_file(journal)?;
                return Err(error).context("write the files to disk");
            }
            Ok(())
        };
        spawn_blocking(check).await??;
        make_durable_as(&unfinished, &self.agent.paths.data()).await?;
        tracing::info!(backup.id = %self.source.backup, "the files of the backup are in place");
        Ok(())
    }
}

/// How many pieces of a part are in place from its beginning on, and how many bytes they have.
fn resume(part: &Part, done: &BTreeMap<u32, u64>) -> (usize, u64) {
    let bytes = part.pieces.iter().map_while(|number| done.get(number));
    bytes.fold((0, 0), |(pieces, all), bytes| (pieces + 1, all + bytes))
}

fn lost(key: &str, why: Unread) -> Trouble {
    match why {
        Unread::Absent => Trouble::Final(format!("{key} is not in the archive")),
        Unread::Damaged(detail) => Trouble::Final(format!("{key} is damaged: {detail}")),
        Unread::Refused(detail) => Trouble::Passing(anyhow!("{key}: {detail}")),
    }
}

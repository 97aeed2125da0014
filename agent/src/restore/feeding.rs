//! Segments of WAL for PostgreSQL, put together ahead of what it asks for.
//!
//! No object crosses the end of a segment, so each segment is put together by itself, several at
//! once: a file of its full size, which gets its name when all of it is there. Behind the cut of a
//! leg it has zeros. Only so many are made ahead; when PostgreSQL asks for another one than the next
//! – it starts again, or goes back – work begins anew from there.
//!
//! The last leg of a follower is open: see [`open`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures::future::pending;
use futures::stream::{self, FuturesUnordered, StreamExt as _};
use shared::agent_api::restore::{Leg, RestoreSource, WalObject};
use shared::agent_api::wal::CHUNK_BYTES_MAX;
use shared::archive::chain::segment_end;
use shared::archive::frame::{CONTENT_BYTES_MAX, Content, Metadata};
use shared::archive::records::{HEADER_BYTES, Stretch, page_bytes};
use shared::archive::way::{Segment, Way};
use shared::units::Lsn;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};

use self::open::{Found, Made, PATIENCE, Part};
use super::ending::LastRecord;
use super::objects::{Reader, Unread, memory_for};
use crate::agent::Agent;
use crate::archive::Reserved;

mod open;

/// Most segments that are put together at once.
const SEGMENTS_AT_ONCE: usize = 6;

/// Most objects of one segment that are fetched at once.
const OBJECTS_AT_ONCE: usize = 3;

/// How many bytes of WAL are made ahead, at most; but always two segments.
const AHEAD_BYTES: u64 = 256 * 1024 * 1024;

/// Most segments that are made ahead.
const AHEAD_SEGMENTS: u64 = 64;

/// Pause before something that did not work is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long WAL below the end of the way must be away, looked for again and again, until it is lost.
/// Objects that are put together to others are away for a moment.
const HOLE_PATIENCE: Duration = Duration::from_secs(30);

/// The segments of a restore.
pub(super) struct Feed {
    pub(super) agent: Arc<Agent>,
    pub(super) source: RestoreSource,
    pub(super) incarnation: u64,
    pub(super) segment_bytes: u32,
    /// Where segments wait for PostgreSQL.
    pub(super) directory: PathBuf,
    pub(super) last_record: LastRecord,
    /// Where the archive must reach at least; behind it the last leg is open. None if it ends.
    open_from: Option<Lsn>,
    state: Mutex<State>,
    /// There is something to do for [`Feed::run`].
    room: Notify,
    /// There is something to take.
    ready: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: BTreeSet<Segment>,
    under_way: BTreeSet<Segment>,
    /// What is put together after those.
    next: Option<Segment>,
    /// What the archive has not, or not all of, yet. Nothing is put together before PostgreSQL was
    /// told.
    open: BTreeMap<Segment, Option<Part>>,
    /// Counts how often work began anew.
    turns: u64,
    /// Counts files that were begun.
    files: u64,
}

/// An object of WAL: its end, its content, and the memory that takes.
type Fetched = (Lsn, Vec<u8>, Reserved);

/// Why a segment cannot be put together.
enum Setback {
    /// At the moment; it is tried again.
    Passing(String),
    /// Some of it is not in the archive: perhaps it is on its way into another object.
    Hole(String),
    /// For good.
    Final(String),
}

impl Feed {
    /// One that begins with the segment `first`, or with the one that is asked for if it is none and
    /// the last leg is open. Blocks.
    pub(super) fn new(
        agent: &Arc<Agent>,
        (source, incarnation): (&RestoreSource, u64),
        segment_bytes: u32,
        first: Option<Segment>,
    ) -> anyhow::Result<Self> {
        let mut source = source.clone();
        let open_from = match source.path.last_mut() {
            Some(last) if first.is_none() => {
                Some(std::mem::replace(&mut last.end, Lsn::from_bytes(u64::MAX)))
            }
            Some(_) | None => None,
        };
        let directory = agent.paths.restore().join("wal");
        crate::instance::ignore_absence(fs::remove_dir_all(&directory))?;
        agent.account.make_private_directory(&directory)?;
        Ok(Self {
            agent: Arc::clone(agent),
            source,
            incarnation,
            segment_bytes,
            directory,
            last_record: LastRecord::open(&agent.paths.restore())?,
            open_from,
            state: Mutex::new(State {
                next: first,
                ..State::default()
            }),
            room: Notify::new(),
            ready: Notify::new(),
        })
    }

    pub(super) fn way(&self) -> Way<'_> {
        Way {
            path: &self.source.path,
            segment_bytes: self.segment_bytes,
        }
    }

    /// Puts segments together for ever.
    pub(super) async fn run(&self) {
        loop {
            let turn = self.lock().turns;
            // What waited in the turn before is gone.
            self.agent.restore.lock().wal.forget_waiting();
            let mut under_way = FuturesUnordered::new();
            while self.lock().turns == turn {
                while let Some(segment) = self.begin_next(turn) {
                    under_way.push(self.put_together(segment));
                }
                tokio::select! {
                    Some((segment, made)) = under_way.next(), if !under_way.is_empty() => {
                        self.finished(turn, segment, made);
                    }
                    () = self.room.notified() => {}
                }
            }
        }
    }

    fn begin_next(&self, turn: u64) -> Option<Segment> {
        let ahead = (AHEAD_BYTES / u64::from(self.segment_bytes)).clamp(2, AHEAD_SEGMENTS);
        let mut state = self.lock();
        let made = state.ready.len() + state.under_way.len();
        let is_full = u64::try_from(made).is_ok_and(|made| made >= ahead)
            || state.under_way.len() >= SEGMENTS_AT_ONCE;
        if is_full || state.turns != turn || !state.open.is_empty() {
            return None;
        }
        let segment = state.next?;
        state.next = self.way().next(segment);
        state.under_way.insert(segment);
        Some(segment)
    }

    fn finished(&self, turn: u64, segment: Segment, made: Made) {
        let mut state = self.lock();
        if state.turns != turn {
            return;
        }
        let is_first = state.under_way.first() == Some(&segment) && state.open.is_empty();
        state.under_way.remove(&segment);
        let end = match made {
            Made::Whole => {
                state.ready.insert(segment);
                Some(self.way().bytes(segment).end)
            }
            Made::Open(part) => {
                let end = part.as_ref().map(|part| part.end);
                state.open.insert(segment, part);
                end
            }
        };
        drop(state);
        if is_first && end.is_some() {
            self.agent.restore.lock().fetched_lsn = end;
        }
        self.ready.notify_waiters();
    }

    /// Waits until a segment is there, and moves it to `to`. False if it is not there yet, as far as
    /// is known: only where the last leg is open. PostgreSQL has what it got before as `own`.
    pub(super) async fn take(
        &self,
        segment: Segment,
        (own, to): (&Path, &Path),
    ) -> anyhow::Result<bool> {
        self.agent.restore.lock().replay_lsn = Some(segment.start);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ready = self.ready.notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            match self.look(segment) {
                Found::Whole => {
                    let (from, to) = (self.file_of(segment), to.to_owned());
                    spawn_blocking(move || fs::rename(from, to))
                        .await?
                        .context("move a segment to PostgreSQL")?;
                    return Ok(true);
                }
                Found::Open(None) => return Ok(false),
                Found::Open(Some(part)) => return part.give(own, to).await,
                Found::UnderWay if self.open_from.is_none() => ready.await,
                Found::UnderWay => {
                    if timeout_at(deadline, ready).await.is_err() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Takes a segment, if it is there. Begins anew from it if it is not on its way.
    fn look(&self, segment: Segment) -> Found {
        let mut state = self.lock();
        let open = state.open.remove(&segment);
        let is_ready = state.ready.remove(&segment);
        let found = if let Some(part) = open {
            // When PostgreSQL asks again, it is looked for again.
            self.begin_anew(&mut state, None);
            Found::Open(part)
        } else if is_ready {
            // What lies before it was not asked for, and will not be.
            let later = state.ready.split_off(&segment);
            let before = std::mem::replace(&mut state.ready, later);
            for segment in before {
                self.discard(segment);
            }
            Found::Whole
        } else {
            let is_next = state.next == Some(segment) && state.open.is_empty();
            if !state.under_way.contains(&segment) && !is_next {
                tracing::debug!(lsn = %segment.start, "PostgreSQL asks for other WAL than the next");
                self.begin_anew(&mut state, Some(segment));
                self.look_anew(segment);
            }
            Found::UnderWay
        };
        drop(state);
        self.room.notify_one();
        found
    }

    /// Forgets what was made, and goes on with `next`.
    fn begin_anew(&self, state: &mut State, next: Option<Segment>) {
        state.turns += 1;
        state.under_way.clear();
        for segment in std::mem::take(&mut state.ready) {
            self.discard(segment);
        }
        for part in std::mem::take(&mut state.open).into_values().flatten() {
            part.discard();
        }
        state.next = next;
    }

    fn discard(&self, segment: Segment) {
        if let Err(error) = fs::remove_file(self.file_of(segment)) {
            tracing::debug!(%error, "failed to remove a segment that is not needed");
        }
    }

    fn file_of(&self, segment: Segment) -> PathBuf {
        let (leg, start) = (segment.leg, segment.start.bytes());
        self.directory.join(format!("{leg:08}-{start:016X}"))
    }

    /// Puts one segment together, however long it takes; never ends if it cannot be.
    async fn put_together(&self, segment: Segment) -> (Segment, Made) {
        let mut hole_since = None;
        loop {
            match self.try_once(segment).await {
                Ok(made) => return (segment, made),
                Err(Setback::Passing(detail)) => {
                    hole_since = None;
                    self.agent.restore.note_trouble(Some(detail));
                    sleep(PAUSE).await;
                }
                Err(Setback::Hole(detail)) => {
                    let since = *hole_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= HOLE_PATIENCE && self.open_from.is_none() {
                        self.give_up(detail.clone()).await;
                    }
                    self.agent.restore.note_trouble(Some(detail));
                    sleep(PAUSE).await;
                }
                Err(Setback::Final(detail)) => self.give_up(detail).await,
            }
        }
    }

    /// Says why it will never work, and waits for the end.
    async fn give_up(&self, detail: String) {
        self.agent.restore.fail(self.incarnation, detail);
        pending::<()>().await;
    }

    async fn try_once(&self, segment: Segment) -> Result<Made, Setback> {
        let leg = self.source.path.get(segment.leg);
        let leg = leg.ok_or_else(|| Setback::Final("a leg that is not there".to_owned()))?;
        let range = self.way().bytes(segment);
        let board = &self.agent.restore;
        let objects = board
            .until(|state| state.wal.objects(segment, leg, &range))
            .await;
        let local = |error: anyhow::Error| Setback::Passing(format!("{error:#}"));
        let (path, file) = self.begin_file().await.map_err(local)?;
        let mut objects = stream::iter(objects.into_iter().map(|object| self.fetch(leg, object)))
            .buffered(OBJECTS_AT_ONCE);
        let mut at = range.start;
        while at < range.end {
            let Some((start, read)) = objects.next().await.filter(|(start, _)| *start <= at) else {
                if self.open_from.is_some_and(|open_from| at >= open_from) {
                    return Ok(Made::up_to(at, segment, path));
                }
                board.lock().wal.forget_from(leg, segment.start);
                let prefix = self.source.prefix_of(leg.timeline).chunks(leg.run);
                let detail = format!("{prefix}: there is no WAL at {at}");
                return Err(Setback::Hole(detail));
            };
            if start < at {
                // Left over from a push that was overtaken.
                continue;
            }
            let (end, mut plain, reserved) = read.inspect_err(|setback| {
                if matches!(setback, Setback::Passing(_) | Setback::Hole(_)) {
                    board.lock().wal.forget_from(leg, segment.start);
                }
            })?;
            let counted = range.end.min(end).bytes() - start.bytes();
            plain.truncate(usize::try_from(counted).unwrap_or(usize::MAX));
            let (file, offset) = (Arc::clone(&file), start.bytes() - segment.start.bytes());
            let write = move || file.write_all_at(&plain, offset);
            finish(spawn_blocking(write).await).map_err(local)?;
            drop(reserved);
            at = end;
        }
        self.keep(segment, &path, &file).await.map_err(local)?;
        Ok(Made::Whole)
    }

    /// A file with the size of a segment, full of zeros. Each has a name of its own: who wrote to an
    /// earlier one may still be at it.
    async fn begin_file(&self) -> anyhow::Result<(PathBuf, Arc<File>)> {
        let number = {
            let mut state = self.lock();
            state.files += 1;
            state.files
        };
        let path = self.directory.join(format!("unfinished-{number}"));
        let (at, bytes) = (path.clone(), u64::from(self.segment_bytes));
        let account = self.agent.account.clone();
        let make = move || -> anyhow::Result<File> {
            use std::os::unix::fs::OpenOptionsExt as _;
            let mut options = fs::OpenOptions::new();
            let file = options.create_new(true).read(true).write(true).mode(0o600);
            let file = file.open(&at)?;
            file.set_len(bytes)?;
            account.give(&at)?;
            Ok(file)
        };
        let file = spawn_blocking(make).await?.context("make a segment")?;
        Ok((path, Arc::new(file)))
    }

    /// Gives a segment its name, once it is known where the last record of the way ends in it.
    async fn keep(&self, segment: Segment, path: &Path, file: &Arc<File>) -> anyhow::Result<()> {
        let (path, file) = (path.to_owned(), Arc::clone(file));
        let to = self.file_of(segment);
        let is_on_last_leg = self.open_from.is_none() && segment.leg + 1 == self.source.path.len();
        let is_last = self.way().is_last(segment);
        let range = self.way().bytes(segment);
        let length = usize::try_from(range.end.bytes() - range.start.bytes())?;
        let segment_bytes = usize::try_from(self.segment_bytes)?;
        let last_record = self.last_record.clone();
        let keep = move || -> anyhow::Result<()> {
            if is_on_last_leg {
                let read = |offset: usize, length: usize| {
                    let mut bytes = vec![0; length];
                    let offset = u64::try_from(offset).map_err(io::Error::other)?;
                    file.read_exact_at(&mut bytes, offset)?;
                    Ok(bytes)
                };
                let header = read(0, HEADER_BYTES)?;
                let stretch = page_bytes(&header).map(|page_bytes| Stretch {
                    start: segment.start,
                    length,
                    segment_bytes,
                    page_bytes,
                });
                let end = match stretch {
                    Some(stretch) => stretch.last_record_end(read)?,
                    None => None,
                };
                last_record.note(end, is_last)?;
            }
            Ok(fs::rename(&path, &to)?)
        };
        spawn_blocking(keep).await?.context("keep a segment")
    }

    /// Fetches an object of WAL. Gives its start in any case.
    async fn fetch(&self, leg: &Leg, object: WalObject) -> (Lsn, Result<Fetched, Setback>) {
        let prefix = self.source.prefix_of(leg.timeline);
        let segment_bytes = usize::try_from(self.segment_bytes).unwrap_or(usize::MAX);
        let (key, most) = if object.is_segment {
            (prefix.segment(leg.run, object.start), CONTENT_BYTES_MAX)
        } else {
            let most = usize::try_from(CHUNK_BYTES_MAX).unwrap_or(usize::MAX);
            (prefix.chunk(leg.run, object.start), most)
        };
        let most = most.min(segment_bytes);
        let mut reserved = self.agent.archive.reserve(memory_for(most)).await;
        let reader = Reader {
            archive: &self.agent.archive,
            board: &self.agent.restore,
        };
        let is_right = |metadata: &Metadata| self.end_of(metadata, leg, object.start).map(drop);
        let read = reader
            .read((&key, &object.get), most, &mut reserved, is_right)
            .await;
        let outcome = match read {
            Ok((metadata, plain)) => self
                .end_of(&metadata, leg, object.start)
                .map(|end| (end, plain, reserved))
                .map_err(Setback::Final),
            Err(Unread::Damaged(detail)) => {
                Err(Setback::Final(format!("{key} is damaged: {detail}")))
            }
            Err(Unread::Refused(detail)) => Err(Setback::Passing(format!("{key}: {detail}"))),
            Err(Unread::Absent) => Err(Setback::Hole(format!("{key} is not in the archive"))),
        };
        (object.start, outcome)
    }

    /// The end of an object of WAL that belongs to a leg and begins at `start`.
    fn end_of(&self, metadata: &Metadata, leg: &Leg, start: Lsn) -> Result<Lsn, String> {
        let is_ours = metadata.timeline == leg.timeline
            && metadata.system_identifier == self.source.system_identifier;
        match metadata.content {
            Content::Wal {
                epoch,
                tli,
                start: own,
                end,
            } if is_ours
                && (epoch, tli, own) == (leg.run.epoch, leg.run.tli, start)
                && end > start
                && end <= segment_end(start, self.segment_bytes) =>
            {
                Ok(end)
            }
            Content::Wal { .. } | Content::BackupPiece { .. } | Content::BackupManifest { .. } => {
                Err("it is another object than its name says".to_owned())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finish(outcome: Result<io::Result<()>, tokio::task::JoinError>) -> anyhow::Result<()> {
    outcome?.context("write a segment")
}

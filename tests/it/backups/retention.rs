//! Retention at random moments, with workers that die and a store that fails: whatever is kept is
//! whole, and nothing that is half deleted looks like a backup.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use shared::archive::chain::{segment_end, segment_start};
use shared::archive::epoch::{EpochRecord, Parent};
use shared::archive::frame::{self, Content, Label};
use shared::archive::layout::start_in_name;
use shared::archive::manifest::{File, Manifest, Part};
use shared::archive::retention::KEEP_MARKED;
use shared::archive::sentinel::Sentinel;
use shared::archive::store::{Listed, MemoryStore, ObjectStore as _};
use shared::archive::window::windows;
use shared::clock::Clock as _;
use shared::db::archive::{
    Epoch, NewBackup, Position, Progress, advance, begin_backup, begin_epoch, current_epoch,
    fail_backup, finish_backup, restorable, seal_epoch,
};
use shared::db::fleet::Recorded;
use shared::db::jobs::{self, JobKey};
use shared::domain::{BackupReason, BackupState, JobKind};
use shared::ids::{BackupId, ParticipantId, RequestId, ServerId, TimelineId};
use shared::queue::Outcome;
use shared::units::Lsn;
use tests::world::World;
use workers::sweeps;

use super::world::{Stop, Worker, assert_whole};
use crate::machines::world::dice::Dice;

/// As small as PostgreSQL makes them.
const SEGMENT: u32 = 1 << 20;

/// Number of different stories.
const SEEDS: u64 = 6;

/// Happenings in one story.
const STEPS: u32 = 40;

const RETENTION: TimeDelta = TimeDelta::days(2);

/// A timeline of rows and objects, without any server.
struct Story {
    world: World,
    worker: Worker,
    store: Arc<MemoryStore>,
    timeline: TimelineId,
    participant: ParticipantId,
    dice: Dice,
}

impl Story {
    async fn begin(seed: u64) -> anyhow::Result<Self> {
        let world = World::without_workers().await?;
        let store = Arc::new(MemoryStore::default());
        let worker = Worker::of(&world, Arc::<MemoryStore>::clone(&store)).await?;
        let story = Self {
            world,
            worker,
            store,
            timeline: TimelineId::new(),
            participant: ParticipantId::new(),
            dice: Dice::new(seed),
        };
        sqlx::query(
            "with server as (
                insert into servers (id, provider, plan, state, state_since, host, agent_port,
                    postgres_port, request_id, created_at)
                values ($1, 'local', 'hobby', 'ready', $4, '127.0.0.1', 1, 1, $5, $4)
            ), timeline as (
                insert into timelines (id, created_at) values ($2, $4)
            )
            insert into participants (id, timeline_id, server_id, role, state, state_since,
                postgres_major, prober_password, prober_verifier, request_id, created_at)
            values ($3, $2, $1, 'leader', 'serving', $4, 15, '', '', $5, $4)",
        )
        .bind(ServerId::new())
        .bind(story.timeline)
        .bind(story.participant)
        .bind(story.now())
        .bind(RequestId::new())
        .execute(story.pool())
        .await?;
        story.open(1, Lsn::from_bytes(SEGMENT.into()), None).await?;
        Ok(story)
    }

    fn pool(&self) -> &sqlx::PgPool {
        &self.world.database.pool
    }

    fn now(&self) -> DateTime<Utc> {
        self.worker.clock.now()
    }

    async fn epoch(&self) -> anyhow::Result<Epoch> {
        let epoch = current_epoch(self.pool(), self.timeline).await?;
        epoch.context("there is an epoch")
    }

    async fn open(&self, number: u32, start: Lsn, parent: Option<Parent>) -> anyhow::Result<()> {
        let record = EpochRecord {
            timeline: self.timeline,
            number,
            system_identifier: 7,
            tli: number,
            segment_bytes: SEGMENT,
            start,
            participant: self.participant,
            generation: 1,
            parent,
            created_at: self.now(),
        };
        let begun = begin_epoch(self.pool(), &record, RequestId::new(), self.now()).await?;
        ensure!(begun, "it is new");
        self.put(record.prefix().epoch(number), record.to_json())
            .await
    }

    async fn put(&self, key: String, content: impl Into<Bytes>) -> anyhow::Result<()> {
        self.store.put(&key, content.into()).await?;
        Ok(())
    }

    /// Writes WAL up to `to`, within a segment, in one chunk.
    async fn chunk(&self, epoch: &Epoch, start: Lsn, end: Lsn) -> anyhow::Result<()> {
        let label = Label {
            timeline: self.timeline,
            system_identifier: 7,
            content: Content::Wal {
                epoch: epoch.record.number,
                tli: epoch.record.tli,
                start,
                end,
            },
        };
        let plain = vec![0; usize::try_from(end.bytes() - start.bytes())?];
        let key = epoch.record.prefix().chunk(epoch.record.run(), start);
        self.put(key, frame::encode(&label, &plain, 1)?).await
    }

    /// Writes some WAL; some of it ends within a segment.
    async fn write(&mut self) -> anyhow::Result<()> {
        let epoch = self.epoch().await?;
        let mut at = epoch.watermark;
        for _ in 0..=self.dice.below(3) {
            let end = segment_end(at, SEGMENT);
            let middle = Lsn::from_bytes(at.bytes() + 1 + self.dice.below(1 << 19)).min(end);
            let whole = self.dice.chance(700);
            for end in [middle, end].into_iter().skip(usize::from(whole)) {
                if at < end && (whole || end == middle || self.dice.chance(800)) {
                    self.chunk(&epoch, at, end).await?;
                    at = end;
                }
            }
        }
        let to = Position {
            watermark: at,
            tail: None,
            compacted: segment_start(at, SEGMENT),
        };
        let progress = Progress {
            to,
            retry: None,
            flush: at,
            looked_at: Some(self.now()),
        };
        let moved = advance(self.pool(), &epoch, &progress, self.now()).await?;
        ensure!(moved == Recorded::Yes, "nobody else moves it");
        Ok(())
    }

    /// A leader follows another one.
    async fn promote(&mut self) -> anyhow::Result<()> {
        let epoch = self.epoch().await?;
        let (number, cut) = (epoch.record.number, epoch.watermark);
        let key = (self.timeline, number);
        let sealed = seal_epoch(self.pool(), key, cut, self.now()).await?;
        ensure!(sealed == Recorded::Yes, "nobody else seals it");
        let parent = Parent {
            timeline: self.timeline,
            epoch: number,
            cut,
        };
        self.open(number + 1, segment_start(cut, SEGMENT), Some(parent))
            .await?;
        self.write().await
    }

    /// Makes a backup, or one that is given up.
    async fn back_up(&mut self) -> anyhow::Result<()> {
        let epoch = self.epoch().await?;
        let start = epoch.watermark;
        let key = JobKey {
            kind: JobKind::BaseBackup,
            subject_id: self.timeline.as_uuid(),
        };
        jobs::ask(self.pool(), key, RequestId::new(), self.now()).await?;
        let new = NewBackup {
            id: BackupId::new(),
            timeline: self.timeline,
            run: epoch.record.run(),
            participant: self.participant,
            reason: BackupReason::Schedule,
            request_id: RequestId::new(),
            now: self.now(),
        };
        ensure!(begin_backup(self.pool(), &new).await?, "none runs");
        let prefix = epoch.record.prefix();
        for number in 1..=2 {
            let content = Content::BackupPiece {
                backup: new.id,
                number,
            };
            let object = self.object(content, b"files")?;
            self.put(prefix.backup_piece(new.id, number), object)
                .await?;
            if self.dice.chance(100) {
                let failed = fail_backup(self.pool(), new.id, "a fault", self.now()).await?;
                ensure!(failed == Recorded::Yes, "it ran");
                return Ok(());
            }
        }
        self.write().await?;
        let stop = Lsn::from_bytes(start.bytes() + 1);
        let manifest = self.manifest(&new, (start, stop));
        let content = Content::BackupManifest { backup: new.id };
        let manifest = self.object(content, &serde_json::to_vec(&manifest)?)?;
        let key = prefix.backup_manifest(new.id);
        self.put(key, manifest.clone()).await?;
        let listed: Vec<Listed> = self.store.list(&prefix.backup(new.id), None, 1000).await?;
        let sentinel = Sentinel::of((prefix, new.run, new.id), &manifest, &listed)?;
        self.put(prefix.backup_sentinel(new.id), sentinel.to_json())
            .await?;
        let finished = finish_backup(self.pool(), &sentinel, self.now()).await?;
        ensure!(finished == Recorded::Yes, "it ran");
        Ok(())
    }

    fn object(&self, content: Content, plain: &[u8]) -> anyhow::Result<Vec<u8>> {
        let label = Label {
            timeline: self.timeline,
            system_identifier: 7,
            content,
        };
        Ok(frame::encode(&label, plain, 1)?)
    }

    fn manifest(&self, new: &NewBackup, (start_lsn, stop_lsn): (Lsn, Lsn)) -> Manifest {
        Manifest {
            backup: new.id,
            timeline: self.timeline,
            system_identifier: 7,
            run: new.run,
            start_lsn,
            stop_lsn,
            started_at: new.now,
            stopped_at: new.now,
            postgres_version: "15.18".to_owned(),
            wal_segment_bytes: SEGMENT.into(),
            backup_label: String::new(),
            directories: Vec::new(),
            parts: vec![Part {
                pieces: vec![1, 2],
                bytes: 1024,
                files: vec![File {
                    path: "base/1".to_owned(),
                    bytes: 10,
                }],
            }],
            damaged_pages: Vec::new(),
        }
    }

    /// Deletes what is not kept, by workers that die on the way while the store fails now and then;
    /// or to the end.
    async fn expire(&mut self, to_the_end: bool) -> anyhow::Result<()> {
        for _ in 0..200 {
            sweeps::retention(self.worker.context.clone())
                .await
                .map_err(|error| anyhow::anyhow!("{error}"))?;
            let after = usize::try_from(self.dice.below(5))?;
            let stop = (!to_the_end).then(|| Stop::after(after));
            if !to_the_end && self.dice.chance(200) {
                self.store.fail_next(1);
            }
            let mut turn = self
                .worker
                .turn(JobKind::Expire, self.timeline, stop.as_ref());
            let dies = async {
                match &stop {
                    Some(stop) => stop.reached().await,
                    None => std::future::pending().await,
                }
            };
            let is_done = tokio::select! {
                outcome = &mut turn => outcome == Outcome::Done,
                () = dies => false,
            };
            drop(turn);
            self.store.fail_next(0);
            self.check().await?;
            if is_done || (!to_the_end && self.dice.chance(150)) {
                return Ok(());
            }
        }
        anyhow::bail!("there is no end of what is to be deleted")
    }

    /// Whatever is kept is whole.
    async fn check(&self) -> anyhow::Result<()> {
        let rows: Vec<(BackupId, BackupState, Option<i64>, i32)> =
            sqlx::query_as("select id, state, start_lsn, epoch_number from backups order by id")
                .fetch_all(self.pool())
                .await?;
        let prefix = self.epoch().await?.record.prefix();
        for (id, state, start, epoch) in &rows {
            if *state == BackupState::Finished {
                assert_whole(self.store.as_ref(), prefix, *id).await?;
                let start = Lsn::from_bytes(start.context("it is finished")?.unsigned_abs());
                self.check_wal(epoch.unsigned_abs(), start).await?;
            }
        }
        // Whoever finds a sentinel finds a backup, whatever the rows say.
        for key in self.store.objects().into_keys() {
            if let Some(directory) = key.strip_suffix("/backup.json") {
                let id = directory.rsplit('/').next().context("it has a name")?;
                assert_whole(self.store.as_ref(), prefix, id.parse()?).await?;
            }
        }
        self.check_window().await
    }

    /// All WAL from the segment of `start` on is there, through all epochs.
    async fn check_wal(&self, number: u32, start: Lsn) -> anyhow::Result<()> {
        let rows: Vec<(i32, i64, i64)> = sqlx::query_as(
            "select number, start_lsn, watermark_lsn from epochs
             where timeline_id = $1 and number >= $2 order by number",
        )
        .bind(self.timeline)
        .bind(i32::try_from(number)?)
        .fetch_all(self.pool())
        .await?;
        let objects = self.store.objects();
        for (epoch, own_start, watermark) in rows {
            let from = if epoch.unsigned_abs() == number {
                segment_start(start, SEGMENT).bytes()
            } else {
                own_start.unsigned_abs()
            };
            let mut at = from;
            let part = format!("/wal/{epoch:08}/");
            while at < watermark.unsigned_abs() {
                let name = format!("{at:016X}.zst");
                let mut chunks = objects.iter();
                let chunk = chunks.find(|(key, _)| key.contains(&part) && key.ends_with(&name));
                let (_, object) = chunk.with_context(|| format!("{part} at {at:X}"))?;
                let Content::Wal { end, .. } = frame::peek(object)?.content else {
                    anyhow::bail!("{part} at {at:X} is no WAL");
                };
                at = end.bytes();
            }
        }
        Ok(())
    }

    /// Every moment that the plan keeps and that a backup was made before can be restored.
    async fn check_window(&self) -> anyhow::Result<()> {
        let stored = restorable(self.pool(), self.timeline).await?;
        let found = windows(&stored.epochs, &stored.bases);
        assert!(found.len() <= 1, "{found:#?}");
        let oldest: Option<DateTime<Utc>> = sqlx::query_scalar(
            "select min(finished_at) from backups
             where state in ('finished', 'expiring') and start_lsn is not null",
        )
        .fetch_one(self.pool())
        .await?;
        let Some(oldest) = oldest else {
            return Ok(());
        };
        let promised = oldest.max(self.now() - RETENTION);
        let from = found.first().context("there is a window")?.from_at;
        assert!(from <= promised, "{from} {promised} {stored:#?}");
        Ok(())
    }

    /// Whether a backup waits to be deleted.
    async fn has_marked(&self) -> anyhow::Result<bool> {
        let query = "select exists (select from backups where state = 'expiring')";
        Ok(sqlx::query_scalar(query).fetch_one(self.pool()).await?)
    }

    /// Nothing is left that nobody needs.
    async fn check_nothing_is_left(&self) -> anyhow::Result<()> {
        let rows: Vec<(BackupId, BackupState)> = sqlx::query_as("select id, state from backups")
            .fetch_all(self.pool())
            .await?;
        let finished = |state: &BackupState| *state == BackupState::Finished;
        assert!(rows.iter().all(|(_, state)| finished(state)), "{rows:?}");
        let known: BTreeSet<String> = rows.iter().map(|(id, _)| id.to_string()).collect();
        for key in self.store.objects().into_keys() {
            let names: Vec<&str> = key.split('/').collect();
            match names.as_slice() {
                [.., "backups", id, _] => assert!(known.contains(*id), "{key}"),
                [.., "wal", epoch, _, _] => {
                    let kept: i64 = sqlx::query_scalar(
                        "select coalesce(kept_from_lsn, start_lsn) from epochs where number = $1",
                    )
                    .bind(epoch.parse::<i32>()?)
                    .fetch_one(self.pool())
                    .await?;
                    let at = start_in_name(&key).context("it has a position")?;
                    assert!(at.bytes() >= kept.unsigned_abs(), "{key}");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

async fn tell(seed: u64) -> anyhow::Result<()> {
    let mut story = Story::begin(seed).await?;
    story.write().await?;
    for _ in 0..STEPS {
        match story.dice.below(10) {
            0..3 => story.write().await?,
            3..6 => story.back_up().await?,
            6 => story.promote().await?,
            _ => story.expire(false).await?,
        }
        let minutes = i64::try_from(story.dice.below(600))?;
        story.worker.clock.advance(TimeDelta::minutes(minutes));
        story.check().await?;
    }
    // What failed a moment ago may be cleaned up later.
    story.worker.clock.advance(TimeDelta::hours(1));
    story.expire(true).await?;
    // What is marked goes later, and more may be marked by then.
    while story.has_marked().await? {
        story.worker.clock.advance(KEEP_MARKED);
        story.expire(true).await?;
    }
    story.check_nothing_is_left().await
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_at_random_moments_keeps_whole_what_it_keeps() -> anyhow::Result<()> {
    for seed in 0..SEEDS {
        tell(seed).await.with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

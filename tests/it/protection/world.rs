//! A control plane with an archive, and one database in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use shared::agent_api::ARCHIVE_SLOT;
use shared::archive::chain::Walk;
use shared::archive::epoch::EpochRecord;
use shared::archive::frame::{self, Metadata, PEEK_BYTES};
use shared::archive::store::ObjectStore;
use shared::clock::{Clock as _, SystemClock};
use shared::db::archive::{Epoch, current_epoch};
use shared::domain::{ArchiveAlert, JobKind, ResourceState};
use shared::ids::{ParticipantId, ResourceId, TimelineId};
use shared::queue::Member;
use shared::units::Lsn;
use sqlx::types::Uuid;
use sqlx::{PgConnection, PgPool};
use tests::object_server::{BUCKET, ObjectServer};
use tests::world::{PATIENCE, World};
use tokio::time::{Instant, sleep};

/// Time between two looks while waiting.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// A control plane with an archive.
pub(crate) struct Protected {
    pub(crate) world: World,
    pub(crate) server: ObjectServer,
    pub(crate) id: ResourceId,
    pub(crate) timeline: TimelineId,
    /// What workers start as an agent; null for what was built.
    pub(crate) agent_binary: Option<PathBuf>,
    http: reqwest::Client,
    metrics_port: u16,
}

impl Protected {
    /// A database that is available, and a worker that archives it.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_on("standard").await
    }

    /// The same with a database on another plan.
    pub(crate) async fn start_on(plan: &str) -> anyhow::Result<Self> {
        let mut protected = Self::without_worker().await?;
        protected.start_worker().await?;
        protected.make_on(plan).await?;
        Ok(protected)
    }

    /// Control database, Redis and object server, and nothing that works.
    pub(crate) async fn without_worker() -> anyhow::Result<Self> {
        let (world, server) = tokio::try_join!(World::without_workers(), ObjectServer::start())?;
        // One provider for the whole process; another test may have been quicker.
        drop(rustls::crypto::ring::default_provider().install_default());
        // As quick as plans may be: a test does not wait for ten seconds.
        sqlx::query("update plans set wal_push_interval_ms = 500, archive_grace_s = 1")
            .execute(&world.database.pool)
            .await?;
        Ok(Self {
            world,
            server,
            id: ResourceId::new(),
            timeline: TimelineId::new(),
            agent_binary: None,
            http: reqwest::Client::builder().no_proxy().build()?,
            metrics_port: 0,
        })
    }

    /// A database that is available, nothing of which is archived: no worker works any more.
    pub(crate) async fn not_archived() -> anyhow::Result<Self> {
        let mut protected = Self::without_worker().await?;
        let without_archive = protected.world.start_worker(&[]).await?;
        protected.make().await?;
        protected.world.kill_worker(without_archive).await?;
        Ok(protected)
    }

    /// The record of a first epoch of `participant`, from the very first position of any WAL on.
    pub(crate) async fn epoch_from_zero(
        &self,
        participant: ParticipantId,
    ) -> anyhow::Result<EpochRecord> {
        let query = "select system_identifier from participants where timeline_id = $1";
        let system_identifier: String = sqlx::query_scalar(query)
            .bind(self.timeline)
            .fetch_one(&self.world.database.pool)
            .await?;
        Ok(EpochRecord {
            timeline: self.timeline,
            number: 1,
            system_identifier: system_identifier.parse()?,
            tli: 1,
            segment_bytes: 16 << 20,
            start: Lsn::default(),
            participant,
            generation: 1,
            parent: None,
            created_at: SystemClock.now(),
        })
    }

    /// Asks for the database, and waits for it.
    pub(crate) async fn make(&mut self) -> anyhow::Result<()> {
        self.make_on("standard").await
    }

    async fn make_on(&mut self, plan: &str) -> anyhow::Result<()> {
        self.id = self.world.create("shop", plan).await?;
        self.world.until(self.id, ResourceState::Available).await?;
        let query = "select timeline_id from participants
                     join resources on resources.participant_id = participants.id
                     where resources.id = $1";
        self.timeline = sqlx::query_scalar(query)
            .bind(self.id)
            .fetch_one(&self.world.database.pool)
            .await?;
        Ok(())
    }

    /// One more worker that knows the archive; its metrics are those that are read from now on.
    pub(crate) async fn start_worker(&mut self) -> anyhow::Result<usize> {
        self.metrics_port = World::free_port()?;
        let settings = self.server.settings();
        let endpoint = settings.endpoint.context("it has an endpoint")?;
        let listen = format!("127.0.0.1:{}", self.metrics_port);
        let mut variables = vec![
            ("RINGMASTER_METRICS_LISTEN", listen.as_str()),
            ("RINGMASTER_ARCHIVE_BUCKET", BUCKET),
            ("RINGMASTER_ARCHIVE_ENDPOINT", &endpoint),
            ("RINGMASTER_ARCHIVE_PATH_STYLE", "true"),
            ("RINGMASTER_ARCHIVE_ENCRYPTION", "none"),
            ("RINGMASTER_ARCHIVE_ACCESS_KEY_ID", &settings.access_key_id),
            (
                "RINGMASTER_ARCHIVE_SECRET_ACCESS_KEY",
                settings.secret_access_key.expose(),
            ),
        ];
        let agent = self.agent_binary.as_deref().map(Path::to_string_lossy);
        if let Some(agent) = &agent {
            variables.push(("RINGMASTER_AGENT_BINARY", agent));
        }
        self.world.start_worker(&variables).await
    }

    /// The newest epoch; null before the first.
    pub(crate) async fn epoch(&self) -> anyhow::Result<Option<Epoch>> {
        Ok(current_epoch(&self.world.database.pool, self.timeline).await?)
    }

    /// Waits until the newest epoch is as wished; `what` says how, for the failure.
    pub(crate) async fn until_epoch(
        &self,
        what: &str,
        wished: impl Fn(&Epoch) -> bool,
    ) -> anyhow::Result<Epoch> {
        let begun = Instant::now();
        loop {
            let epoch = self.epoch().await?;
            if let Some(epoch) = epoch.as_ref().filter(|epoch| wished(epoch)) {
                return Ok(epoch.clone());
            }
            if begun.elapsed() > PATIENCE {
                let story = self.world.story(self.id).await?;
                bail!("the epoch is not {what}: {epoch:#?}\n{story}");
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until `alert` is open or not, about the timeline or the archive as a whole.
    pub(crate) async fn until_alert(&self, alert: ArchiveAlert, open: bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let query = "select count(*) from alerts
                         where name = $1 and subject_id in ($2, $3) and cleared_at is null";
            let count: i64 = sqlx::query_scalar(query)
                .bind(alert.as_str())
                .bind(self.timeline)
                .bind(Uuid::nil())
                .fetch_one(&self.world.database.pool)
                .await?;
            if (count == 1) == open {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let story = self.world.story(self.id).await?;
                bail!("{alert} is open: {}\n{story}", !open);
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until everything that is flushed now is in the archive.
    pub(crate) async fn until_archived(
        &self,
        customer: &mut PgConnection,
    ) -> anyhow::Result<Epoch> {
        let flushed = flushed(customer).await?;
        let what = format!("archived up to {flushed}");
        self.until_epoch(&what, |epoch| epoch.watermark >= flushed)
            .await
    }

    /// Waits until a number of the newest worker is as wished: the sum of the metric `name` over
    /// all series that have `labels` in their text.
    pub(crate) async fn until_metric(
        &self,
        (name, labels): (&str, &[&str]),
        wished: impl Fn(f64) -> bool,
    ) -> anyhow::Result<f64> {
        let begun = Instant::now();
        loop {
            let value = self.metric(name, labels).await.unwrap_or(-1.0);
            if wished(value) {
                return Ok(value);
            }
            if begun.elapsed() > PATIENCE {
                bail!(
                    "{name} {labels:?} is {value}\n{}",
                    self.world.story(self.id).await?
                );
            }
            sleep(LOOK).await;
        }
    }

    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics_port);
        let text = self.http.get(url).send().await?.text().await?;
        let mut sum = 0.0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let is_of = series.split('{').next() == Some(name);
            if is_of && labels.iter().all(|label| series.contains(label)) {
                sum += value.parse::<f64>()?;
            }
        }
        Ok(sum)
    }

    /// Waits until the timeline was turned `times` more times by the newest worker.
    pub(crate) async fn turned(&self, times: u32) -> anyhow::Result<()> {
        let turns = ("ringmaster_ring_turns_total", &["kind=\"wal_push\""][..]);
        let before = self.until_metric(turns, |turns| turns >= 0.0).await?;
        for _ in 0..times {
            let before = self.until_metric(turns, |turns| turns >= 0.0).await?;
            let (ring, member) = Member::of_job(JobKind::WalPush, self.timeline.as_uuid());
            self.world.queue.wake(ring, member).await?;
            self.until_metric(turns, |turns| turns > before).await?;
        }
        self.until_metric(turns, |turns| turns >= before + f64::from(times))
            .await?;
        Ok(())
    }

    /// Names of all objects whose name has `part` in it, with their metadata.
    pub(crate) async fn objects(&self, part: &str) -> anyhow::Result<BTreeMap<String, Metadata>> {
        let store = self.server.store();
        let mut found = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = store.list("timelines/", after.as_deref(), 1000).await?;
            for object in &page {
                if object.key.contains(part) {
                    let peek = store.get(&object.key, Some(0..u64::try_from(PEEK_BYTES)?));
                    let bytes = peek.await?.context("it was listed")?;
                    found.insert(object.key.clone(), frame::peek(&bytes)?);
                }
            }
            after = page.last().map(|last| last.key.clone());
            if page.len() < 1000 {
                return Ok(found);
            }
        }
    }

    /// Where the objects of the chain meet, from the start on.
    pub(crate) async fn joints(&self, epoch: &Epoch) -> anyhow::Result<Vec<Lsn>> {
        joints(&self.server.store(), &epoch.record).await
    }

    /// The watermark is a joint of the chain, and the record of the epoch is in the archive.
    pub(crate) async fn assert_whole(&self, epoch: &Epoch) -> anyhow::Result<()> {
        let joints = self.joints(epoch).await?;
        assert!(joints.contains(&epoch.watermark), "{epoch:#?} {joints:?}");
        let key = epoch.record.prefix().epoch(epoch.record.number);
        let record = self.server.store().get(&key, None).await?;
        let record = record.context("the record is there")?;
        let record = serde_json::from_slice::<EpochRecord>(&record)?;
        assert_eq!(record.start, epoch.record.start);
        assert_eq!(record.participant, epoch.record.participant);
        Ok(())
    }
}

/// Where the objects of a chain meet, from its start on: found from the archive alone, each object
/// read as a whole and checked.
pub(crate) async fn joints(
    store: &dyn ObjectStore,
    record: &EpochRecord,
) -> anyhow::Result<Vec<Lsn>> {
    let (prefix, run) = (record.prefix(), record.run());
    let mut walk = Walk::new(record);
    let mut joints = vec![walk.at()];
    while let Some(object) = store.get(&prefix.chunk(run, walk.at()), None).await? {
        let (metadata, _) = frame::decode(&object)?;
        walk.over(&metadata)?;
        joints.push(walk.at());
    }
    Ok(joints)
}

/// Names of all alerts that are open, in order.
pub(crate) async fn open_alerts(pool: &PgPool) -> anyhow::Result<Vec<String>> {
    let query = "select name from alerts where cleared_at is null order by name";
    Ok(sqlx::query_scalar(query).fetch_all(pool).await?)
}

/// How far PostgreSQL has flushed.
pub(crate) async fn flushed(customer: &mut PgConnection) -> anyhow::Result<Lsn> {
    let text: String = sqlx::query_scalar("select pg_current_wal_flush_lsn()::text")
        .fetch_one(customer)
        .await?;
    Ok(text.parse()?)
}

/// Oldest WAL that the slot of the archive holds.
pub(crate) async fn slot_restart(customer: &mut PgConnection) -> anyhow::Result<Option<Lsn>> {
    let query = "select restart_lsn::text from pg_replication_slots where slot_name = $1";
    let text: Option<String> = sqlx::query_scalar(query)
        .bind(ARCHIVE_SLOT)
        .fetch_one(customer)
        .await?;
    Ok(text.map(|text| text.parse()).transpose()?)
}

//! One agent that is played, and the database that it would have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use shared::agent_api::wal::{Place, Placed, Signed, WalPush, WalPushed};
use shared::agent_api::{DiskStatus, InstanceStatus, Phase, PostgresStatus, SlotStatus, SlotWal};
use shared::archive::frame::{self, Content, Label};
use shared::clock::{Clock as _, SystemClock};
use shared::ids::{ParticipantId, ServerId, TimelineId};
use shared::units::Lsn;
use tokio::time::Instant;

use super::tally::{Stored, Tally};

/// Size of a segment in bytes: the smallest of PostgreSQL.
const SEGMENT_BYTES: u32 = 1 << 20;

/// WAL of a second in bytes: a segment in about two minutes.
const BYTES_PER_SECOND: u64 = 8 << 10;

/// Bytes that WAL positions are multiples of.
const ALIGNMENT: u64 = 8;

/// Level of zstd, as in the agent.
const LEVEL: i32 = 1;

/// A leader that writes all the time.
pub(super) struct Played {
    pub(super) server: ServerId,
    pub(super) participant: ParticipantId,
    pub(super) timeline: TimelineId,
    system_identifier: u64,
    begun: Instant,
    /// Flushed when it began: elsewhere in its segment for each, so that they do not all become full
    /// at once.
    first: Lsn,
    /// Oldest WAL that it keeps, in bytes.
    held: AtomicU64,
    pushes: AtomicU32,
    http: reqwest::Client,
    tally: Arc<Tally>,
}

impl Played {
    /// Number `number` of `of`.
    pub(super) fn new(number: u32, of: u32, http: &reqwest::Client, tally: &Arc<Tally>) -> Self {
        let share = u64::from(SEGMENT_BYTES) * u64::from(number) / u64::from(of.max(1));
        let first = u64::from(SEGMENT_BYTES) + share - share % ALIGNMENT;
        Self {
            server: ServerId::new(),
            participant: ParticipantId::new(),
            timeline: TimelineId::new(),
            system_identifier: 7_300_000_000_000_000_000 + u64::from(number),
            begun: Instant::now(),
            first: Lsn::from_bytes(first),
            held: AtomicU64::new(SEGMENT_BYTES.into()),
            pushes: AtomicU32::new(0),
            http: http.clone(),
            tally: Arc::clone(tally),
        }
    }

    /// Pushes that were answered.
    pub(super) fn pushes(&self) -> u32 {
        self.pushes.load(Ordering::Relaxed)
    }

    /// Answers `GET /v1/instance`.
    pub(super) fn status(&self) -> InstanceStatus {
        let now = SystemClock.now();
        let slot = SlotStatus {
            restart_lsn: Some(self.held()),
            wal_status: SlotWal::Reserved,
            safe_wal_bytes: None,
        };
        let postgres = PostgresStatus {
            pid: 1,
            started_at: now,
            version: "15.18".to_owned(),
            system_identifier: self.system_identifier.to_string(),
            tli: 1,
            wal_segment_bytes: SEGMENT_BYTES,
            flush_lsn: Some(self.flushed()),
            wal_wait_ms: None,
            archive_slot: Some(slot),
            in_recovery: Some(false),
            standby: None,
        };
        InstanceStatus {
            server: self.server,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            agent_started_at: now,
            boot_id: "played".to_owned(),
            participant: Some(self.participant),
            generation: 1,
            spec_digest: None,
            converged_generation: 1,
            phase: Phase::Running,
            postgres: Some(postgres),
            crashes: 0,
            last_error: None,
            disk: DiskStatus {
                used_bytes: 0,
                total_bytes: 1 << 40,
                probe_took_ms: Some(1),
                probe_age_ms: 0,
            },
            certificate_not_after: now + Duration::from_hours(24),
            certificate_addresses: None,
            restore: None,
            check: None,
        }
    }

    /// Answers `POST /v1/wal/push`.
    pub(super) async fn push(&self, order: &WalPush) -> WalPushed {
        let (looked_at, begun) = (SystemClock.now(), Instant::now());
        let flush = self.flushed();
        let mut chunks = Vec::new();
        for place in order.chunks.iter().filter(|place| place.start < flush) {
            chunks.push(self.place(order, place, flush.min(place.end)).await);
        }
        if let (Some(Placed::Stored { .. }), Some(first)) = (chunks.first(), order.chunks.first()) {
            self.tally.stored(Stored {
                age: self.age_of(first.start),
                took: begun.elapsed().as_secs_f64(),
            });
        }
        let mut segments = Vec::new();
        for place in &order.segments {
            Tally::count(&self.tally.segments);
            segments.push(self.place(order, place, place.end).await);
        }
        self.held
            .fetch_max(order.safe_lsn.bytes(), Ordering::Relaxed);
        self.pushes.fetch_add(1, Ordering::Relaxed);
        WalPushed {
            flush_lsn: flush,
            looked_at: Some(looked_at),
            chunks,
            segments,
            slot_restart_lsn: Some(self.held()),
        }
    }

    /// Fills a place up to `end`, or takes what is there.
    async fn place(&self, order: &WalPush, place: &Place, end: Lsn) -> Placed {
        self.fill(order, place, end)
            .await
            .unwrap_or_else(|error| Placed::Failed {
                detail: format!("{error:#}"),
            })
    }

    async fn fill(&self, order: &WalPush, place: &Place, end: Lsn) -> anyhow::Result<Placed> {
        let object = self.object(order, place.start, end)?;
        let object_bytes = u64::try_from(object.len())?;
        let put = self.http.put(place.put.url.expose()).body(object);
        let answer = signed(put, &place.put).send().await?;
        match answer.status().as_u16() {
            200 => Ok(Placed::Stored { end, object_bytes }),
            412 => self.adopt(place).await,
            other => bail!("the store answered {other}"),
        }
    }

    /// The end of what is there.
    async fn adopt(&self, place: &Place) -> anyhow::Result<Placed> {
        let get = self.http.get(place.get.url.expose());
        let answer = signed(get, &place.get).send().await?.error_for_status()?;
        let metadata = frame::peek(&answer.bytes().await?).context("read what is there")?;
        match metadata.content {
            Content::Wal { end, .. } => Ok(Placed::Adopted { end }),
            other => bail!("what is there is {other:?}"),
        }
    }

    fn object(&self, order: &WalPush, start: Lsn, end: Lsn) -> anyhow::Result<Vec<u8>> {
        let label = Label {
            timeline: self.timeline,
            system_identifier: self.system_identifier,
            content: Content::Wal {
                epoch: order.run.epoch,
                tli: order.run.tli,
                start,
                end,
            },
        };
        let plain = vec![0; usize::try_from(end.bytes() - start.bytes())?];
        Ok(frame::encode(&label, &plain, LEVEL)?)
    }

    /// Flushed up to here at this moment.
    fn flushed(&self) -> Lsn {
        let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let written = BYTES_PER_SECOND * milliseconds / 1000;
        Lsn::from_bytes(self.first.bytes() + written - written % ALIGNMENT)
    }

    /// Seconds since the byte at `lsn` was flushed.
    fn age_of(&self, lsn: Lsn) -> f64 {
        let before = lsn.bytes().saturating_sub(self.first.bytes());
        let then = Duration::from_millis(before * 1000 / BYTES_PER_SECOND);
        self.begun.elapsed().saturating_sub(then).as_secs_f64()
    }

    fn held(&self) -> Lsn {
        Lsn::from_bytes(self.held.load(Ordering::Relaxed))
    }
}

/// With the headers that were signed.
fn signed(mut request: reqwest::RequestBuilder, signed: &Signed) -> reqwest::RequestBuilder {
    for (name, value) in &signed.headers {
        request = request.header(name, value);
    }
    request
}

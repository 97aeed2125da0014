//! What a worker does for WAL: it signs places from the watermark on, and goes on where the agent
//! came to.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, bail};
use shared::agent_api::wal::{CHUNK_BYTES_MAX, PLACES_MAX, Place, WalPush};
use shared::archive::chain::{Cut, Stop, advance, places, segment_start};
use shared::archive::layout::{Prefix, Run};
use shared::archive::store::ObjectStore as _;
use shared::ids::{RequestId, TimelineId};
use shared::units::Lsn;

use super::{Server, Store};

/// How long places are good, as in the worker.
const SIGNED_FOR: Duration = Duration::from_mins(10);

/// Time after which the agent must answer, as in the worker.
const ANSWER_WITHIN_MS: u32 = 10_000;

/// The first run of a timeline.
pub(crate) const RUN: Run = Run { epoch: 1, tli: 1 };

/// Brings the WAL of a server to a timeline of its own.
pub(crate) struct Pusher<'a> {
    server: &'a Server,
    store: &'a Store,
    pub(crate) prefix: Prefix,
    segment_bytes: u32,
    pub(crate) watermark: Lsn,
    /// As far as WAL was known to be flushed.
    flush: Lsn,
    /// Whether the slot follows, so that PostgreSQL removes what is archived.
    pub(crate) lets_go: bool,
}

impl<'a> Pusher<'a> {
    /// One that begins at `start`, with a timeline that has nothing yet.
    pub(crate) async fn begin(
        server: &'a Server,
        store: &'a Store,
        start: Lsn,
    ) -> anyhow::Result<Self> {
        let status = server.status().await?;
        let postgres = status.postgres.context("PostgreSQL runs")?;
        Ok(Self {
            server,
            store,
            prefix: Prefix {
                timeline: TimelineId::new(),
                system_identifier: postgres.system_identifier.parse()?,
            },
            segment_bytes: postgres.wal_segment_bytes,
            watermark: segment_start(start, postgres.wal_segment_bytes),
            flush: postgres.flush_lsn.context("it is a leader")?,
            lets_go: false,
        })
    }

    /// Pushes until everything before `goal` is in the archive.
    pub(crate) async fn push_to(&mut self, goal: Lsn) -> anyhow::Result<()> {
        while self.watermark < goal {
            self.slice(goal).await?;
        }
        Ok(())
    }

    /// One slice, of places that begin before `goal`. Gives whether there is more.
    pub(crate) async fn slice(&mut self, goal: Lsn) -> anyhow::Result<bool> {
        let cut = Cut {
            segment_bytes: self.segment_bytes,
            chunk_bytes_max: CHUNK_BYTES_MAX,
            places_max: PLACES_MAX,
        };
        let mut ranges = places(self.watermark, self.flush, &cut);
        ranges.retain(|range| range.start < goal);
        let push = self.order(&ranges).await?;
        let (client, address) = (&self.server.client, self.server.address);
        let answer = client.push_wal(address, &push, RequestId::new()).await?;
        let came = advance(self.watermark, self.segment_bytes, &ranges, &answer.chunks);
        match came.stop {
            Stop::End | Stop::Unfinished => {}
            stop => bail!("{stop:?} at {}: {}", came.watermark, self.server.log()),
        }
        (self.watermark, self.flush) = (came.watermark, answer.flush_lsn);
        Ok(self.watermark < self.flush)
    }

    async fn order(&self, ranges: &[Range<Lsn>]) -> anyhow::Result<WalPush> {
        let mut chunks = Vec::with_capacity(ranges.len());
        for range in ranges {
            let key = self.prefix.chunk(RUN, range.start);
            chunks.push(Place {
                start: range.start,
                end: range.end,
                put: self.store.client.sign_put(&key, SIGNED_FOR).await?,
                get: self.store.client.sign_get(&key, SIGNED_FOR).await?,
            });
        }
        let safe_lsn = if self.lets_go {
            segment_start(self.watermark, self.segment_bytes)
        } else {
            Lsn::default()
        };
        Ok(WalPush {
            participant: self.server.spec.participant,
            generation: self.server.spec.generation,
            timeline: self.prefix.timeline,
            system_identifier: self.prefix.system_identifier,
            run: RUN,
            seam: None,
            chunks,
            segments: Vec::new(),
            safe_lsn,
            answer_within_ms: ANSWER_WITHIN_MS,
        })
    }
}

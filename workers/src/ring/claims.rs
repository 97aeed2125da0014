//! The claim loop of one ring: asks for members that are due and hands them to the lanes.
//!
//! It asks only for as many as there is room, keeps a few claims under way so that neither Redis
//! nor the worker waits for the other, and never has two claims of one shard under way. Without
//! work it sleeps until a member is due, a wake arrives, or the poll cap is reached.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use shared::queue::{Claim, ClaimReply, QueueError, ShardStats};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::crew::Crew;
use super::in_flight::Ended;
use super::job::Job;
use super::metrics::Verb;
use super::schedule::Look;

/// Claims under way at a time.
const CLAIMS_AT_ONCE: usize = 8;

/// How long little room may gather before a small claim is sent.
const ROOM_WAIT: Duration = Duration::from_millis(2);

/// Where claims go.
pub(super) struct Sinks {
    /// One for each lane; a shard always goes to the same lane.
    pub(super) lanes: Vec<UnboundedSender<Job>>,
    /// The settle loop, for jobs that end without a turn.
    pub(super) ends: UnboundedSender<Ended>,
    /// Told when Redis has no ring.
    pub(super) no_ring: Arc<Notify>,
}

/// What came of a look at a shard.
struct Looked {
    index: u16,
    asked: u16,
    /// Before the claim was sent: leases are reckoned from here.
    sent: Instant,
    reply: Result<Option<ClaimReply>, QueueError>,
}

struct ClaimLoop {
    crew: Arc<Crew>,
    sinks: Sinks,
    under_way: FuturesUnordered<BoxFuture<'static, Looked>>,
    /// Room that claims under way may fill.
    reserved: usize,
    last_claim: Instant,
}

/// Runs until `stop`; claims that are under way then are handed back.
pub(super) async fn run(crew: Arc<Crew>, sinks: Sinks, stop: CancellationToken) {
    let mut claims = ClaimLoop {
        crew,
        sinks,
        under_way: FuturesUnordered::new(),
        reserved: 0,
        last_claim: Instant::now(),
    };
    while !stop.is_cancelled() {
        let wait_until = claims.send_claims();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            Some(looked) = claims.under_way.next() => claims.receive(looked, true),
            () = claims.crew.schedule.changed() => {}
            () = tokio::time::sleep_until(wait_until) => {}
        }
    }
    while let Some(looked) = claims.under_way.next().await {
        claims.receive(looked, false);
    }
}

impl ClaimLoop {
    /// Sends what claims it may, and returns when to look again without any other reason.
    fn send_claims(&mut self) -> Instant {
        let settings = &self.crew.settings;
        loop {
            let now = Instant::now();
            if self.under_way.len() >= CLAIMS_AT_ONCE {
                return now + settings.poll_cap;
            }
            let room = self.crew.in_flight.room().saturating_sub(self.reserved);
            let enough = usize::from(settings.claim_batch)
                .min(settings.in_flight / 4)
                .max(1);
            if room == 0 {
                return now + settings.poll_cap;
            }
            if room < enough && now < self.last_claim + ROOM_WAIT {
                return self.last_claim + ROOM_WAIT;
            }
            let Some(look) = self.crew.schedule.take(now) else {
                return self.crew.schedule.next_look();
            };
            let asked = u16::try_from(room)
                .map_or(settings.claim_batch, |room| room.min(settings.claim_batch));
            self.reserved += usize::from(asked);
            self.last_claim = now;
            self.under_way
                .push(Box::pin(look_at(Arc::clone(&self.crew), look, asked)));
        }
    }

    fn receive(&mut self, looked: Looked, turn_them: bool) {
        self.reserved = self.reserved.saturating_sub(usize::from(looked.asked));
        let schedule = &self.crew.schedule;
        match looked.reply {
            Err(error) => {
                schedule.failed(looked.index, self.crew.redis_failed(Verb::Claim, &error));
                return;
            }
            Ok(None) => schedule.looked(looked.index, false, None),
            Ok(Some(ClaimReply::NoRing)) => {
                schedule.looked(looked.index, false, None);
                self.sinks.no_ring.notify_one();
            }
            Ok(Some(ClaimReply::Claims { claims, next_due })) => {
                let more = next_due.is_some_and(|wait| wait.is_zero());
                schedule.looked(looked.index, more, next_due);
                self.hand_over(claims, looked.index, looked.sent, turn_them);
            }
        }
        self.crew.redis_answered();
    }

    fn hand_over(&self, claims: Vec<Claim>, index: u16, sent: Instant, turn_them: bool) {
        if claims.is_empty() {
            return;
        }
        let metrics = &self.crew.metrics;
        metrics
            .claim_batch
            .record(f64::from(u32::try_from(claims.len()).unwrap_or(u32::MAX)));
        for claim in &claims {
            metrics
                .overdue
                .record(Duration::from_millis(claim.overdue_ms).as_secs_f64());
        }
        let lane = self
            .sinks
            .lanes
            .get(usize::from(index) % self.sinks.lanes.len().max(1));
        for admitted in self
            .crew
            .in_flight
            .admit(claims, sent + self.crew.settings.lease)
        {
            let job = Job::new(admitted, self.sinks.ends.clone());
            // A job that is not sent is dropped here, which hands its member back.
            if turn_them
                && let Some(lane) = lane
                && lane.send(job).is_err()
            {
                tracing::debug!(ring = self.crew.label(), "the lane is closed");
            }
        }
    }
}

/// Claims from a shard; from another worker's only if its members are overdue, else `None`.
async fn look_at(crew: Arc<Crew>, look: Look, asked: u16) -> Looked {
    let shard = crew.shard(look.index);
    let mut sent = Instant::now();
    let mut reply = Ok(None);
    let mut help = look.owned;
    if !help {
        match crew.queue.stats(shard).await {
            Ok(stats) => help = needs_help(&stats, crew.settings.take_over),
            Err(error) => reply = Err(error),
        }
        sent = Instant::now();
    }
    if help {
        reply = crew
            .queue
            .claim(shard, asked, crew.settings.lease, crew.worker)
            .await
            .map(Some);
    }
    Looked {
        index: look.index,
        asked,
        sent,
        reply,
    }
}

/// Whether the owner of a shard seems to be gone, or cannot keep up.
fn needs_help(stats: &ShardStats, take_over: Duration) -> bool {
    stats.epoch.is_none() || stats.expired > 0 || stats.oldest_due_age >= take_over
}

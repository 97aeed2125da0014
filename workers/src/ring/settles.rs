//! The settle loop of one ring: sends the outcomes of turns to Redis, in batches per shard.
//!
//! While one round of batches is under way the next gathers, and a small one waits a moment for the
//! turns that began together with its own: so they share the calls. A batch that fails is sent
//! again until the lease has certainly ended; an answer *lost* to the repetition is normal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use shared::queue::{Outcome, QueueError, SettleReply, Settlement, Shard};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::crew::Crew;
use super::in_flight::{Due, Ended};
use super::metrics::{Fate, Verb};

/// Outcomes taken from the lanes at a time.
const ROUND: usize = 1024;

/// Settlements in one call, below the limit of the script.
const BATCH: usize = 256;

/// Outcomes for which nothing else is waited for.
const ENOUGH: usize = 64;

/// How long a smaller number waits for more.
const GATHER: Duration = Duration::from_millis(2);

/// Runs until every sender is gone and everything is settled or given up.
pub(super) async fn run(crew: Arc<Crew>, mut ends: UnboundedReceiver<Ended>) {
    let mut settles = Settles {
        crew,
        pending: BTreeMap::new(),
        retry_at: None,
    };
    let mut round = Vec::with_capacity(ROUND);
    let mut open = true;
    while open || !settles.pending.is_empty() {
        let retry_at = settles.retry_at;
        tokio::select! {
            received = ends.recv_many(&mut round, ROUND), if open => open = received > 0,
            () = tokio::time::sleep_until(retry_at.unwrap_or_else(Instant::now)),
                if retry_at.is_some() => settles.retry_at = None,
        }
        if open && (1..ENOUGH).contains(&round.len()) {
            tokio::time::sleep(GATHER).await;
            while round.len() < ROUND
                && let Ok(ended) = ends.try_recv()
            {
                round.push(ended);
            }
        }
        settles.gather(&mut round);
        if settles.retry_at.is_none() {
            settles.send().await;
        }
    }
}

struct Settles {
    crew: Arc<Crew>,
    pending: BTreeMap<Shard, Vec<Due>>,
    /// After a failure: when to send again.
    retry_at: Option<Instant>,
}

impl Settles {
    fn gather(&mut self, round: &mut Vec<Ended>) {
        let (due, superseded) = self.crew.in_flight.end(round.drain(..));
        self.crew.metrics.settled(Fate::Superseded, superseded);
        for due in due {
            self.pending.entry(due.shard).or_default().push(due);
        }
    }

    async fn send(&mut self) {
        let batches = std::mem::take(&mut self.pending)
            .into_iter()
            .flat_map(|(shard, mut due)| {
                let mut batches = Vec::new();
                while due.len() > BATCH {
                    batches.push((shard, due.split_off(due.len() - BATCH)));
                }
                batches.push((shard, due));
                batches
            });
        let crew = &self.crew;
        let answers = join_all(batches.map(|(shard, due)| send_batch(crew, shard, due))).await;
        for (shard, due, answer) in answers {
            match answer {
                Ok(replies) => settled(crew, shard, &due, &replies),
                Err(error) => {
                    let wait = crew.redis_failed(Verb::Settle, &error);
                    let kept = give_up_expired(crew, due);
                    if !kept.is_empty() {
                        self.retry_at = Some(Instant::now() + wait);
                        self.pending.entry(shard).or_default().extend(kept);
                    }
                }
            }
        }
    }
}

async fn send_batch(
    crew: &Crew,
    shard: Shard,
    due: Vec<Due>,
) -> (Shard, Vec<Due>, Result<Vec<SettleReply>, QueueError>) {
    let settlements: Vec<Settlement> = due.iter().map(|due| due.settlement).collect();
    let answer = crew.queue.settle(shard, &settlements, crew.worker).await;
    (shard, due, answer)
}

/// Counts the answers, lets go of the members, and notes when they are due again.
fn settled(crew: &Crew, shard: Shard, due: &[Due], replies: &[SettleReply]) {
    crew.redis_answered();
    let mut next: Option<Duration> = None;
    let mut counts = [0_u64; 3];
    for (due, reply) in due.iter().zip(replies) {
        let wait = match (reply, due.settlement.outcome) {
            (SettleReply::Settled, Outcome::Again(wait)) => Some(wait),
            (SettleReply::Settled, Outcome::Done) | (SettleReply::Lost, _) => None,
            (SettleReply::Woken, _) => Some(Duration::ZERO),
        };
        if let Some(wait) = wait {
            next = Some(next.map_or(wait, |next| next.min(wait)));
        }
        match reply {
            SettleReply::Settled => counts[0] += 1,
            SettleReply::Woken => counts[1] += 1,
            SettleReply::Lost => counts[2] += 1,
        }
    }
    crew.metrics
        .settle_batch
        .record(f64::from(u32::try_from(due.len()).unwrap_or(u32::MAX)));
    for (reply, count) in [Fate::Settled, Fate::Woken, Fate::Lost]
        .into_iter()
        .zip(counts)
    {
        if count > 0 {
            crew.metrics.settled(reply, count);
        }
    }
    crew.in_flight.release(due);
    if let Some(wait) = next {
        crew.schedule.due_in(shard.index, wait);
    }
    crew.schedule.nudge();
}

/// Drops settlements whose lease has certainly ended: Redis would refuse them or has another
/// owner by now. Returns the others.
fn give_up_expired(crew: &Crew, due: Vec<Due>) -> Vec<Due> {
    let now = Instant::now();
    let (kept, ended): (Vec<_>, Vec<_>) = due
        .into_iter()
        .partition(|due| !due.lease.is_lost() && due.lease.expires() > now);
    if !ended.is_empty() {
        crew.metrics.settled(
            Fate::GivenUp,
            u64::try_from(ended.len()).unwrap_or(u64::MAX),
        );
        tracing::warn!(
            ring = crew.label(),
            members = ended.len(),
            "gave up settling: Redis did not answer until the leases ended"
        );
        crew.in_flight.release(&ended);
        crew.schedule.nudge();
    }
    kept
}

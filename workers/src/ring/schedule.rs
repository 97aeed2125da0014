//! When to look at which shard: due times, wakes, ownership, and a beat that makes batches.
//!
//! What merely becomes due is looked for on the beat: at multiples of one short time, the same for
//! all shards. So members that become due within one beat begin their turns together, and share
//! what is dearest about a turn: waking threads, system calls, the query for their rows. What was
//! woken does not wait for the beat.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The next look at each shard of one ring.
pub(super) struct Schedule {
    slots: Mutex<Vec<Slot>>,
    changed: Notify,
    cap: Duration,
    beat: Duration,
    /// The first beat.
    began: Instant,
}

#[derive(Clone)]
struct Slot {
    /// When to look again.
    look_at: Instant,
    /// Not before this moment for what merely becomes due.
    rest_until: Instant,
    /// A claim of this shard is under way.
    busy: bool,
    owned: bool,
}

/// A shard to be looked at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) index: u16,
    pub(super) owned: bool,
}

impl Schedule {
    /// Every shard is looked at at once, and owned until told otherwise.
    pub(super) fn of(shards: usize, cap: Duration, beat: Duration) -> Self {
        let now = Instant::now();
        let slot = Slot {
            look_at: now,
            rest_until: now,
            busy: false,
            owned: true,
        };
        Self {
            slots: Mutex::new(vec![slot; shards]),
            changed: Notify::new(),
            cap,
            beat,
            began: now,
        }
    }

    /// The beat at `at`, or the first one after it.
    fn on_beat(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.began);
        if self.beat.is_zero() {
            return at;
        }
        let beats = since.as_nanos().div_ceil(self.beat.as_nanos());
        u32::try_from(beats).map_or(at, |beats| self.began + self.beat * beats)
    }

    /// The first beat after `at`.
    fn next_beat(&self, at: Instant) -> Instant {
        self.on_beat(at + Duration::from_nanos(1))
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something may have to be looked at earlier, or there may be more room.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Makes the claim loop look around.
    pub(super) fn nudge(&self) {
        self.changed.notify_one();
    }

    /// The moment of the next look at a shard without a claim under way.
    pub(super) fn next_look(&self) -> Instant {
        let idle = self
            .slots()
            .iter()
            .filter(|slot| !slot.busy)
            .map(|slot| slot.look_at)
            .min();
        idle.unwrap_or_else(|| Instant::now() + self.cap)
    }

    /// The shard that waits longest for its look, marked busy until [`Schedule::looked`].
    pub(super) fn take(&self, now: Instant) -> Option<Look> {
        let mut slots = self.slots();
        let waiting = |(_, slot): &(usize, &mut Slot)| !slot.busy && slot.look_at <= now;
        let (index, slot) = slots
            .iter_mut()
            .enumerate()
            .filter(waiting)
            .min_by_key(|(_, slot)| slot.look_at)?;
        slot.busy = true;
        slot.look_at = self.on_beat(now + self.cap);
        Some(Look {
            index: u16::try_from(index).ok()?,
            owned: slot.owned,
        })
    }

    /// Notes that a look ended. `more` means that due members were left: look again at once;
    /// else look when the next becomes due, at the latest after the cap.
    pub(super) fn looked(&self, index: u16, more: bool, next_due: Option<Duration>) {
        let now = Instant::now();
        if let Some(slot) = self.slots().get_mut(usize::from(index)) {
            slot.busy = false;
            if more {
                slot.look_at = now;
                slot.rest_until = now;
            } else {
                slot.rest_until = self.next_beat(now);
                let due = now + next_due.unwrap_or(self.cap).min(self.cap);
                let due = self.on_beat(due.max(slot.rest_until));
                slot.look_at = slot.look_at.min(due);
            }
        }
    }

    /// Notes that a look failed: the next one comes after `wait`, whatever is due.
    pub(super) fn failed(&self, index: u16, wait: Duration) {
        if let Some(slot) = self.slots().get_mut(usize::from(index)) {
            slot.busy = false;
            slot.look_at = Instant::now() + wait;
            slot.rest_until = slot.look_at;
        }
    }

    /// A member of the shard becomes due in `wait`.
    pub(super) fn due_in(&self, index: u16, wait: Duration) {
        let earlier = self
            .slots()
            .get_mut(usize::from(index))
            .is_some_and(|slot| {
                let due = Instant::now() + wait.min(self.cap);
                let at = self.on_beat(due.max(slot.rest_until));
                let earlier = at < slot.look_at;
                slot.look_at = slot.look_at.min(at);
                earlier
            });
        if earlier {
            self.nudge();
        }
    }

    /// A member of the shard was woken: its owner looks at once, others leave it to the owner.
    pub(super) fn woken(&self, index: u16) {
        if let Some(slot) = self.slots().get_mut(usize::from(index))
            && slot.owned
        {
            slot.look_at = Instant::now();
        }
        self.nudge();
    }

    /// Looks at every shard at once.
    pub(super) fn look_everywhere(&self) {
        let now = Instant::now();
        for slot in self.slots().iter_mut() {
            slot.look_at = now;
            slot.rest_until = now;
        }
        self.nudge();
    }

    /// Sets which shards are owned; returns how many. A shard newly owned is looked at at once.
    pub(super) fn own(&self, owns: impl Fn(u16) -> bool) -> usize {
        let now = Instant::now();
        let mut owned = 0;
        for (index, slot) in (0..).zip(self.slots().iter_mut()) {
            let mine = owns(index);
            if mine && !slot.owned {
                slot.look_at = now;
            }
            slot.owned = mine;
            owned += usize::from(mine);
        }
        self.nudge();
        owned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(1);
    const BEAT: Duration = Duration::from_millis(5);

    const FIRST: Option<Look> = Some(Look {
        index: 0,
        owned: true,
    });

    #[tokio::test(start_paused = true)]
    async fn a_drained_shard_is_looked_at_when_its_next_member_is_due() {
        let schedule = Schedule::of(1, CAP, BEAT);
        assert_eq!(schedule.take(Instant::now()), FIRST);
        assert_eq!(
            schedule.take(Instant::now()),
            None,
            "one claim of a shard at a time"
        );
        schedule.looked(0, false, Some(Duration::from_millis(300)));
        assert_eq!(
            schedule.next_look(),
            Instant::now() + Duration::from_millis(300)
        );
        schedule.due_in(0, Duration::from_millis(100));
        assert_eq!(
            schedule.next_look(),
            Instant::now() + Duration::from_millis(100)
        );
        schedule.due_in(0, Duration::ZERO);
        assert_eq!(schedule.next_look(), Instant::now() + BEAT);
        schedule.woken(0);
        assert_eq!(schedule.take(Instant::now()), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_becomes_due_during_a_look_is_not_forgotten() {
        let schedule = Schedule::of(1, CAP, BEAT);
        schedule.take(Instant::now());
        schedule.due_in(0, Duration::from_millis(50));
        schedule.looked(0, false, None);
        assert_eq!(
            schedule.next_look(),
            Instant::now() + Duration::from_millis(50)
        );
        tokio::time::advance(Duration::from_millis(50)).await;
        schedule.take(Instant::now());
        schedule.woken(0);
        schedule.looked(0, false, None);
        assert_eq!(schedule.take(Instant::now()), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_becomes_due_within_a_beat_is_looked_for_together() {
        let schedule = Schedule::of(3, CAP, BEAT);
        let begun = Instant::now();
        for index in 0..3 {
            assert!(schedule.take(begun).is_some());
            tokio::time::advance(Duration::from_micros(700)).await;
            schedule.looked(index, false, Some(Duration::from_millis(41)));
        }
        let together = begun + 9 * BEAT;
        assert_eq!(schedule.next_look(), together);
        let early = schedule.take(together - Duration::from_micros(1));
        assert_eq!(early, None);
        for _ in 0..3 {
            assert!(schedule.take(together).is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn full_shards_take_turns() {
        let schedule = Schedule::of(3, CAP, BEAT);
        let mut seen = Vec::new();
        for _ in 0..6 {
            let look = schedule.take(Instant::now()).unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
            schedule.looked(look.index, true, None);
            seen.push(look.index);
        }
        assert_eq!(seen, [0, 1, 2, 0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_look_rests_and_a_wake_of_a_foreign_shard_is_its_owners() {
        let schedule = Schedule::of(1, CAP, BEAT);
        schedule.take(Instant::now());
        schedule.failed(0, Duration::from_secs(2));
        schedule.due_in(0, Duration::ZERO);
        assert_eq!(
            schedule.next_look(),
            Instant::now() + Duration::from_secs(2)
        );
        assert_eq!(schedule.own(|_| false), 0);
        schedule.woken(0);
        assert_eq!(schedule.take(Instant::now()), None);
        assert_eq!(schedule.own(|_| true), 1);
        assert_eq!(schedule.take(Instant::now()), FIRST);
    }
}

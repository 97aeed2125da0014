//! When to look at which shard: due times, wakes, ownership, and a floor that makes batches.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The next look at each shard of one ring.
pub(super) struct Schedule {
    slots: Mutex<Vec<Slot>>,
    changed: Notify,
    cap: Duration,
    floor: Duration,
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
    pub(super) fn of(shards: usize, cap: Duration, floor: Duration) -> Self {
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
            floor,
        }
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
        slot.look_at = now + self.cap;
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
                slot.rest_until = now + self.floor;
                let due = now + next_due.unwrap_or(self.cap).clamp(self.floor, self.cap);
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
                let at = (Instant::now() + wait.min(self.cap)).max(slot.rest_until);
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
    const FLOOR: Duration = Duration::from_millis(5);

    fn look(index: u16) -> Option<Look> {
        Some(Look { index, owned: true })
    }

    #[tokio::test(start_paused = true)]
    async fn a_drained_shard_is_looked_at_when_its_next_member_is_due() {
        let schedule = Schedule::of(1, CAP, FLOOR);
        assert_eq!(schedule.take(Instant::now()), look(0));
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
        assert_eq!(schedule.next_look(), Instant::now() + FLOOR);
        schedule.woken(0);
        assert_eq!(schedule.take(Instant::now()), look(0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_becomes_due_during_a_look_is_not_forgotten() {
        let schedule = Schedule::of(1, CAP, FLOOR);
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
        assert_eq!(schedule.take(Instant::now()), look(0));
    }

    #[tokio::test(start_paused = true)]
    async fn full_shards_take_turns() {
        let schedule = Schedule::of(3, CAP, FLOOR);
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
        let schedule = Schedule::of(1, CAP, FLOOR);
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
        assert_eq!(schedule.take(Instant::now()), look(0));
    }
}

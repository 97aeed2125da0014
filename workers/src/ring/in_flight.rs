//! The members that this worker holds: each at most once, whatever Redis says.
//!
//! A member enters with its claim and leaves when its settlement was answered. If Redis gives a
//! member to us that we still hold (our lease ran out in a stall, or Redis went back to an older
//! copy), the running turn is told that it lost its lease, its outcome will be dropped, and the
//! new claim waits as *successor*: it is handed back when the old turn has ended. So no member is
//! ever turned twice at a time in one process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::queue::{Claim, Member, Outcome, Settlement, Shard, Token};
use tokio::time::Instant;

use super::lease::Lease;

/// The members held, and how many more there is room for.
pub(super) struct InFlight {
    state: Mutex<State>,
    limit: usize,
}

#[derive(Default)]
struct State {
    slots: HashMap<Member, Slot>,
    last_serial: u64,
}

struct Slot {
    /// Tells this holding of the member from an earlier one, even if Redis repeats a token.
    serial: u64,
    token: Token,
    shard: Shard,
    lease: Lease,
    turning: bool,
    successor: Option<Successor>,
}

struct Successor {
    token: Token,
    lease: Lease,
}

/// A claim that may be turned now.
pub(super) struct Admitted {
    pub(super) claim: Claim,
    pub(super) serial: u64,
    pub(super) lease: Lease,
}

/// A turn that ended, or that was given back without one.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) member: Member,
    pub(super) serial: u64,
    pub(super) outcome: Outcome,
}

/// A settlement that must reach Redis before its lease ends.
#[derive(Clone)]
pub(super) struct Due {
    pub(super) shard: Shard,
    pub(super) serial: u64,
    pub(super) lease: Lease,
    pub(super) settlement: Settlement,
}

impl InFlight {
    pub(super) fn with_room_for(limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            limit,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.state().slots.len()
    }

    /// How many more members may be held (0 when full).
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.len())
    }

    /// Takes claims whose leases last until `expires`; returns those that may be turned.
    pub(super) fn admit(&self, claims: Vec<Claim>, expires: Instant) -> Vec<Admitted> {
        let mut state = self.state();
        claims
            .into_iter()
            .filter_map(|claim| state.admit(claim, expires))
            .collect()
    }

    /// Notes that turns ended; returns what to settle, and how many outcomes were superseded.
    pub(super) fn end(&self, ended: impl IntoIterator<Item = Ended>) -> (Vec<Due>, u64) {
        let mut state = self.state();
        let mut superseded = 0;
        let due = ended
            .into_iter()
            .filter_map(|ended| {
                let slot = state.slots.get_mut(&ended.member)?;
                if slot.serial != ended.serial {
                    return None;
                }
                slot.turning = false;
                let outcome = match slot.successor.take() {
                    None => ended.outcome,
                    Some(successor) => {
                        superseded += 1;
                        slot.token = successor.token;
                        slot.lease = successor.lease;
                        Outcome::Again(Duration::ZERO)
                    }
                };
                Some(Due {
                    shard: slot.shard,
                    serial: slot.serial,
                    lease: slot.lease.clone(),
                    settlement: Settlement {
                        member: ended.member,
                        token: slot.token,
                        outcome,
                    },
                })
            })
            .collect();
        (due, superseded)
    }

    /// Lets go of members whose settlement was answered or given up.
    pub(super) fn release<'a>(&self, settled: impl IntoIterator<Item = &'a Due>) {
        let mut state = self.state();
        for due in settled {
            let member = due.settlement.member;
            if state
                .slots
                .get(&member)
                .is_some_and(|slot| slot.serial == due.serial)
            {
                state.slots.remove(&member);
            }
        }
    }

    /// The leases that end before `horizon` and are not lost yet, by shard.
    pub(super) fn leases_ending_before(
        &self,
        horizon: Instant,
    ) -> HashMap<Shard, Vec<(Member, Token, Lease)>> {
        let state = self.state();
        let mut ending: HashMap<Shard, Vec<_>> = HashMap::new();
        for (member, slot) in &state.slots {
            let (token, lease) = match &slot.successor {
                Some(successor) => (successor.token, &successor.lease),
                None => (slot.token, &slot.lease),
            };
            if !lease.is_lost() && lease.expires() < horizon {
                ending
                    .entry(slot.shard)
                    .or_default()
                    .push((*member, token, lease.clone()));
            }
        }
        ending
    }

    /// Marks every lease lost whose end has passed; returns how many of them had a running turn.
    pub(super) fn lose_expired(&self, now: Instant) -> u64 {
        let state = self.state();
        let mut lost = 0;
        for slot in state.slots.values() {
            if slot.turning && !slot.lease.is_lost() && slot.lease.expires() <= now {
                slot.lease.lose();
                lost += 1;
            }
        }
        lost
    }

    /// Tells every running turn that it no longer has the right to its member.
    pub(super) fn lose_all(&self) {
        for slot in self.state().slots.values().filter(|slot| slot.turning) {
            slot.lease.lose();
        }
    }
}

impl State {
    fn admit(&mut self, claim: Claim, expires: Instant) -> Option<Admitted> {
        let lease = Lease::until(expires);
        if let Some(slot) = self.slots.get_mut(&claim.member)
            && slot.turning
        {
            slot.lease.lose();
            slot.successor = Some(Successor {
                token: claim.token,
                lease,
            });
            return None;
        }
        self.last_serial += 1;
        let serial = self.last_serial;
        let slot = Slot {
            serial,
            token: claim.token,
            shard: claim.shard,
            lease: lease.clone(),
            turning: true,
            successor: None,
        };
        self.slots.insert(claim.member, slot);
        Some(Admitted {
            claim,
            serial,
            lease,
        })
    }
}

#[cfg(test)]
mod tests;

//! One shard as its description says, without Redis.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::ids::WorkerId;
use shared::queue::{Claim, EnterReply, Member, SettleReply, ShardStats, Token, WakeReply};

use super::super::world::START;

/// Where a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Due(u64),
    Leased {
        expires: u64,
        token: Token,
        worker: WorkerId,
        woken: bool,
    },
}

/// One shard, as its description says.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: u64,
    pub(super) epoch: Option<u64>,
    pub(super) places: BTreeMap<Member, Place>,
    pub(super) given: Vec<(Claim, WorkerId)>,
    pub(super) tokens: BTreeSet<Token>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            now: START,
            epoch: None,
            places: BTreeMap::new(),
            given: vec![],
            tokens: BTreeSet::new(),
        }
    }

    pub(super) fn enter(&mut self, members: &[(Member, u64)]) -> EnterReply {
        let mut entered = 0;
        for &(member, due_in) in members {
            self.places.entry(member).or_insert_with(|| {
                entered += 1;
                Place::Due(self.now + due_in)
            });
        }
        EnterReply {
            entered,
            present: members.len() - entered,
        }
    }

    pub(super) fn wake(&mut self, member: Member) -> WakeReply {
        let now = self.now;
        match self.places.get_mut(&member) {
            None => {
                self.places.insert(member, Place::Due(now));
                WakeReply::Entered
            }
            Some(Place::Due(due)) if *due <= now => WakeReply::Due,
            Some(Place::Due(due)) => {
                *due = now;
                WakeReply::Advanced
            }
            Some(Place::Leased { woken, .. }) => {
                *woken = true;
                WakeReply::Marked
            }
        }
    }

    /// Members that a claim takes, in its order: expired leases, then due ones; by time, then name.
    pub(super) fn claimable(&self, limit: usize) -> Vec<(Member, u64)> {
        let mut list: Vec<_> = self
            .places
            .iter()
            .filter_map(|(member, place)| match place {
                Place::Due(due) if *due <= self.now => Some((1, *due, *member)),
                Place::Leased { expires, .. } if *expires <= self.now => {
                    Some((0, *expires, *member))
                }
                _ => None,
            })
            .collect();
        list.sort_by_key(|(order, since, member)| (*order, *since, member.to_string()));
        list.into_iter()
            .take(limit)
            .map(|(_, since, member)| (member, self.now - since))
            .collect()
    }

    /// Checks what a claim gave, and takes it over.
    pub(super) fn check_claims(
        &mut self,
        claims: &[Claim],
        worker: WorkerId,
        expected: &[(Member, u64)],
        lease: u64,
    ) {
        let seen: Vec<_> = claims
            .iter()
            .map(|claim| (claim.member, claim.overdue_ms))
            .collect();
        assert_eq!(seen, expected);
        for claim in claims {
            let token = claim.token;
            assert_eq!(Some(token.epoch), self.epoch);
            let greatest = self
                .tokens
                .iter()
                .filter(|old| old.epoch == token.epoch)
                .max();
            assert!(
                greatest.is_none_or(|old| *old < token),
                "{token} after {greatest:?}"
            );
            assert!(self.tokens.insert(token), "{token} was given twice");
            let expires = self.now + lease;
            let place = Place::Leased {
                expires,
                token,
                worker,
                woken: false,
            };
            self.places.insert(claim.member, place);
            self.given.push((*claim, worker));
        }
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        let moments = self.places.values().map(|place| match place {
            Place::Due(at) | Place::Leased { expires: at, .. } => *at,
        });
        moments.min().map(|at| at.saturating_sub(self.now))
    }

    pub(super) fn holds(&self, claim: &Claim, by: WorkerId) -> bool {
        matches!(self.places.get(&claim.member),
            Some(Place::Leased { token, worker, .. }) if *token == claim.token && *worker == by)
    }

    pub(super) fn extend(&mut self, claim: &Claim, by: WorkerId, lease: u64) -> bool {
        let held = self.holds(claim, by);
        if let Some(Place::Leased { expires, .. }) = self.places.get_mut(&claim.member)
            && held
        {
            *expires = self.now + lease;
        }
        held
    }

    pub(super) fn settle(
        &mut self,
        claim: &Claim,
        by: WorkerId,
        again: Option<u64>,
    ) -> SettleReply {
        if !self.holds(claim, by) {
            return SettleReply::Lost;
        }
        let woken = matches!(
            self.places.remove(&claim.member),
            Some(Place::Leased { woken: true, .. })
        );
        if let Some(delay) = if woken { Some(0) } else { again } {
            self.places
                .insert(claim.member, Place::Due(self.now + delay));
        }
        if woken {
            SettleReply::Woken
        } else {
            SettleReply::Settled
        }
    }

    pub(super) fn stats(&self) -> ShardStats {
        let count = |test: &dyn Fn(&Place) -> bool| {
            u64::try_from(self.places.values().filter(|place| test(place)).count()).unwrap()
        };
        let due: Vec<u64> = self
            .places
            .values()
            .filter_map(|place| match place {
                Place::Due(at) if *at <= self.now => Some(*at),
                _ => None,
            })
            .collect();
        let oldest = due.iter().min().map_or(0, |at| self.now - at);
        ShardStats {
            epoch: self.epoch,
            size: count(&|_| true),
            due: u64::try_from(due.len()).unwrap(),
            leased: count(&|place| matches!(place, Place::Leased { .. })),
            expired: count(
                &|place| matches!(place, Place::Leased { expires, .. } if *expires <= self.now),
            ),
            oldest_due_age: Duration::from_millis(oldest),
        }
    }
}

//! The queue of the ring and of the jobs: the verbs of `shared::queue`, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Member;

/// How long a claim holds.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
struct Lease {
    token: u64,
    expiry: Duration,
    woken: bool,
}

/// What Redis holds. A clone of it is what a Redis rolled back comes back with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    whole: bool,
    due: BTreeMap<Member, Duration>,
    by_due: BTreeSet<(Duration, Member)>,
    leased: BTreeMap<Member, Lease>,
    by_expiry: BTreeSet<(Duration, Member)>,
}

/// A claim: the member and the token that proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) member: Member,
    pub(crate) token: u64,
}

impl Queue {
    pub(crate) fn enter(&mut self, member: Member, now: Duration) {
        if !self.due.contains_key(&member) && !self.leased.contains_key(&member) {
            self.put(member, now);
        }
    }

    pub(crate) fn wake(&mut self, member: Member, now: Duration) {
        match self.leased.get_mut(&member) {
            Some(lease) => lease.woken = true,
            None => self.put(member, now),
        }
    }

    /// Moment of the next thing to claim; nothing if there is none, or no ring.
    pub(crate) fn next(&self) -> Option<Duration> {
        let due = self.by_due.first().map(|(at, _)| *at);
        let expiry = self.by_expiry.first().map(|(at, _)| *at);
        due.into_iter().chain(expiry).min()
    }

    /// Claims what is due, or whose lease has expired. Tokens come from outside: they grow even
    /// when the queue is rolled back.
    pub(crate) fn claim(&mut self, now: Duration, token: u64) -> Option<Claim> {
        let expired = self.by_expiry.first().filter(|(at, _)| *at <= now).copied();
        let due = self.by_due.first().filter(|(at, _)| *at <= now).copied();
        let (_, member) = expired.or(due)?;
        self.remove(member);
        let lease = Lease {
            token,
            expiry: now + LEASE,
            woken: false,
        };
        self.by_expiry.insert((lease.expiry, member));
        self.leased.insert(member, lease);
        Some(Claim { member, token })
    }

    /// Gives a claim back; nothing for *again* means done. A claim that is lost changes nothing.
    pub(crate) fn settle(&mut self, claim: Claim, again: Option<Duration>, now: Duration) {
        let Some(lease) = self
            .leased
            .get(&claim.member)
            .filter(|it| it.token == claim.token)
        else {
            return;
        };
        let at = if lease.woken { Some(now) } else { again };
        self.remove(claim.member);
        if let Some(at) = at {
            self.put(claim.member, at);
        }
    }

    pub(crate) fn flush(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(crate) fn ensure_epoch(&mut self) {
        self.whole = true;
    }

    fn put(&mut self, member: Member, at: Duration) {
        let at = self.due.get(&member).map_or(at, |known| at.min(*known));
        self.remove(member);
        self.due.insert(member, at);
        self.by_due.insert((at, member));
    }

    fn remove(&mut self, member: Member) {
        if let Some(at) = self.due.remove(&member) {
            self.by_due.remove(&(at, member));
        }
        if let Some(lease) = self.leased.remove(&member) {
            self.by_expiry.remove(&(lease.expiry, member));
        }
    }
}

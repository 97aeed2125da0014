//! The verbs of the queue, one method for one script.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use redis::Cmd;

use super::keys::ShardKeys;
use super::{
    BeginReply, Claim, ClaimReply, EnterReply, LeaveReply, Member, MembersCursor, MembersPage,
    Outcome, Queue, QueueError, Ring, SettleReply, Settlement, Shard, ShardStats, Token, WakeReply,
    millis, reply, scripts,
};
use crate::ids::WorkerId;

/// Most members in one call of a script. Larger requests are cut into several calls.
pub const BATCH_MAX: u16 = 500;

/// Longest delay until a member is due again: a year. Longer ones are cut.
const DELAY_MS_MAX: u64 = 366 * 86_400_000;

/// A lease holds for at least a millisecond and at most a day.
const LEASE_MS: std::ops::RangeInclusive<u64> = 1..=86_400_000;

/// About as many bytes take a member, its token and its delay in a call.
const ENTRY_BYTES: usize = 96;

type Result<T> = std::result::Result<T, QueueError>;

impl Queue {
    /// Enters members that are absent, each due after its delay (at most a year); one that is
    /// present stays as it is. Any number is accepted, all shards at a time; if a call fails, some
    /// are in, and repeating the whole does no harm.
    ///
    /// A shard without a ring epoch takes them too: they are claimed once it has one.
    pub async fn enter(&self, ring: Ring, members: &[(Member, Duration)]) -> Result<EnterReply> {
        let mut by_shard: BTreeMap<Shard, Vec<(Member, Duration)>> = BTreeMap::new();
        for &(member, due_in) in members {
            by_shard
                .entry(self.shard_of(ring, &member))
                .or_default()
                .push((member, due_in));
        }
        let shards = by_shard
            .iter()
            .map(|(&shard, members)| self.enter_shard(shard, members));
        let entered = try_join_all(shards).await?.into_iter().sum();
        Ok(EnterReply {
            entered,
            present: members.len().saturating_sub(entered),
        })
    }

    /// Enters members of one shard, batch after batch; says how many were absent.
    async fn enter_shard(&self, shard: Shard, members: &[(Member, Duration)]) -> Result<usize> {
        let keys = self.keys(shard);
        let mut entered = 0;
        for batch in members.chunks(usize::from(BATCH_MAX)) {
            let bytes = batch.len() * ENTRY_BYTES;
            let mut call = scripts::ENTER.call(&[&keys.due, &keys.owner], bytes);
            call.arg(self.now_argument());
            for (member, due_in) in batch {
                call.arg(member.to_string())
                    .arg(millis(*due_in).min(DELAY_MS_MAX));
            }
            entered += reply::enter(self.inner.link.run(&scripts::ENTER, &call).await?)?;
        }
        Ok(entered)
    }

    /// Leases up to `limit` members (1 to 500) that are due, or whose lease has expired, for
    /// `lease` (1 ms to a day). Those with an expired lease come first, then the longest overdue.
    ///
    /// If the answer is lost on its way, nobody works on what was leased until the leases expire.
    pub async fn claim(
        &self,
        shard: Shard,
        limit: u16,
        lease: Duration,
        worker: WorkerId,
    ) -> Result<ClaimReply> {
        let ShardKeys {
            due,
            leased,
            owner,
            epoch,
            counter,
            wakes: _,
        } = &self.keys(shard);
        let mut call = scripts::CLAIM.call(&[due, leased, owner, epoch, counter], 128);
        call.arg(self.now_argument())
            .arg(worker.to_string())
            .arg(lease_ms(lease))
            .arg(limit.clamp(1, BATCH_MAX));
        let reply = reply::claim(self.inner.link.run(&scripts::CLAIM, &call).await?, shard)?;
        debug_assert!(
            claims_are_sound(&reply, limit),
            "a claim breaks the queue's promises"
        );
        Ok(reply)
    }

    /// Makes leases hold for `lease` (1 ms to a day) from now; says for each whether it is still
    /// held. One that is not was taken over, or its member left: the turn must end without effects.
    pub async fn extend(
        &self,
        shard: Shard,
        held: &[(Member, Token)],
        lease: Duration,
        worker: WorkerId,
    ) -> Result<Vec<bool>> {
        let keys = self.keys(shard);
        let mut still_held = Vec::with_capacity(held.len());
        for batch in held.chunks(usize::from(BATCH_MAX)) {
            let bytes = batch.len() * ENTRY_BYTES;
            let mut call = scripts::EXTEND.call(&[&keys.leased, &keys.owner], bytes);
            call.arg(self.now_argument())
                .arg(worker.to_string())
                .arg(lease_ms(lease));
            for (member, token) in batch {
                call.arg(member.to_string()).arg(token.to_string());
            }
            let reply = self.inner.link.run(&scripts::EXTEND, &call).await?;
            still_held.extend(reply::extend(reply, batch.len())?);
        }
        Ok(still_held)
    }

    /// Ends turns: gives back the lease of each member, which is due again after its delay (at most
    /// a year), or leaves the queue. Answers are in the order of the settlements.
    pub async fn settle(
        &self,
        shard: Shard,
        settlements: &[Settlement],
        worker: WorkerId,
    ) -> Result<Vec<SettleReply>> {
        let keys = self.keys(shard);
        let mut replies = Vec::with_capacity(settlements.len());
        for batch in settlements.chunks(usize::from(BATCH_MAX)) {
            let bytes = batch.len() * ENTRY_BYTES;
            let mut call = scripts::SETTLE.call(&[&keys.due, &keys.leased, &keys.owner], bytes);
            call.arg(self.now_argument()).arg(worker.to_string());
            for settlement in batch {
                add_settlement(&mut call, settlement);
            }
            let reply = self.inner.link.run(&scripts::SETTLE, &call).await?;
            replies.extend(reply::settle(reply, batch.len())?);
        }
        Ok(replies)
    }

    /// Makes a member due now: enters it if it is absent, and marks it if it is leased, so that it
    /// is due again when that turn ends. Idle workers are told at once.
    pub async fn wake(&self, ring: Ring, member: Member) -> Result<WakeReply> {
        let ShardKeys {
            due,
            leased,
            owner,
            wakes,
            ..
        } = &self.keys(self.shard_of(ring, &member));
        let mut call = scripts::WAKE.call(&[due, leased, owner, wakes], 64);
        call.arg(self.now_argument()).arg(member.to_string());
        reply::wake(self.inner.link.run(&scripts::WAKE, &call).await?)
    }

    /// Takes a member out of the queue; a turn that holds it will settle as lost.
    pub async fn leave(&self, ring: Ring, member: Member) -> Result<LeaveReply> {
        let keys = self.keys(self.shard_of(ring, &member));
        let mut call = scripts::LEAVE.call(&[&keys.due, &keys.leased, &keys.owner], 64);
        call.arg(member.to_string());
        reply::leave(self.inner.link.run(&scripts::LEAVE, &call).await?)
    }

    /// Opens a ring epoch (below 2^53) on a shard, if it is higher than the present one; members
    /// and leases stay.
    pub async fn begin(&self, shard: Shard, epoch: u64) -> Result<BeginReply> {
        let mut call = scripts::BEGIN.call(&[&self.keys(shard).epoch], 32);
        call.arg(epoch);
        reply::begin(self.inner.link.run(&scripts::BEGIN, &call).await?)
    }

    /// Counts what is in a shard.
    pub async fn stats(&self, shard: Shard) -> Result<ShardStats> {
        let keys = self.keys(shard);
        let mut call = scripts::STATS.call(&[&keys.due, &keys.leased, &keys.epoch], 16);
        call.arg(self.now_argument());
        reply::stats(self.inner.link.run(&scripts::STATS, &call).await?)
    }

    /// Lists about 500 members of a shard, from [`MembersCursor::START`] on. A member whose turn
    /// begins or ends meanwhile may be missed or come twice.
    pub async fn members(&self, shard: Shard, cursor: MembersCursor) -> Result<MembersPage> {
        let keys = self.keys(shard);
        let listed = if cursor.leased {
            &keys.leased
        } else {
            &keys.due
        };
        let mut call = scripts::MEMBERS.call(&[listed], 32);
        call.arg(cursor.at).arg(BATCH_MAX);
        let reply = self.inner.link.run(&scripts::MEMBERS, &call).await?;
        let (members, at) = reply::members(reply)?;
        let next = match (at, cursor.leased) {
            (0, true) => Some(MembersCursor {
                leased: false,
                at: 0,
            }),
            (0, false) => None,
            (at, leased) => Some(MembersCursor { leased, at }),
        };
        Ok(MembersPage { members, next })
    }
}

fn add_settlement(call: &mut Cmd, settlement: &Settlement) {
    call.arg(settlement.member.to_string())
        .arg(settlement.token.to_string());
    match settlement.outcome {
        Outcome::Again(delay) => call.arg(millis(delay).min(DELAY_MS_MAX)),
        Outcome::Done => call.arg("done"),
    };
}

fn lease_ms(lease: Duration) -> u64 {
    millis(lease).clamp(*LEASE_MS.start(), *LEASE_MS.end())
}

/// Not more than asked for, tokens that grow, and no member twice.
fn claims_are_sound(reply: &ClaimReply, limit: u16) -> bool {
    let ClaimReply::Claims { claims, .. } = reply else {
        return true;
    };
    let mut members: Vec<Member> = claims.iter().map(|claim| claim.member).collect();
    members.sort_unstable();
    members.dedup();
    claims.len() <= usize::from(limit.clamp(1, BATCH_MAX))
        && members.len() == claims.len()
        && claims.is_sorted_by(|one: &Claim, next| one.token < next.token)
}

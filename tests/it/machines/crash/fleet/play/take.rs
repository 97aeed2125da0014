//! Taking one turn: to its end, or to where it is cut.

use anyhow::{Context as _, ensure};
use chrono::TimeDelta;
use shared::machine::Act;
use shared::queue::{Outcome, SettleReply, Settlement};
use workers::context::Border;

use super::{LEASE, Play};
use crate::machines::crash::Cut;
use crate::machines::crash::fleet::going::{Came, Going};

impl Play<'_> {
    /// Takes one turn, unless one of its acts is to be cut.
    pub(super) async fn take(&mut self, mut going: Going) -> anyhow::Result<()> {
        let mut at: Option<(Act, usize)> = None;
        loop {
            self.pass(TimeDelta::milliseconds(1));
            let border = match going.go_on().await {
                Came::ToItsEnd(outcome) => {
                    self.settle(&going, outcome).await?;
                    return Ok(());
                }
                Came::To(border) => border,
            };
            let (reached, goes_on) = past(at, border);
            at = goes_on;
            let Some((act, done)) = reached else { continue };
            self.turns
                .push(format!("{} {act:?} {done}", going.claim.member));
            let phases = self.met.entry(act).or_default();
            *phases = (*phases).max(done);
            match self.cut_at(act, done) {
                None => {}
                Some(Cut::Dies { .. }) => {
                    self.cut.insert(act);
                    self.worker = self.fleet.worker();
                    return Ok(());
                }
                Some(Cut::StallsUntilTheEnd { .. }) => {
                    self.cut.insert(act);
                    self.stalled.push(going);
                    self.worker = self.fleet.worker();
                    return Ok(());
                }
                Some(Cut::Twice) => {
                    at = None;
                    going = match self.double(going, act).await? {
                        Some(left) => left,
                        None => return Ok(()),
                    };
                }
            }
        }
    }

    fn cut_at(&self, act: Act, done: usize) -> Option<Cut> {
        let cut = self.cuts.get(&act).filter(|_| !self.cut.contains(&act))?;
        let here = match cut {
            Cut::Dies { phases_done } | Cut::StallsUntilTheEnd { phases_done } => *phases_done,
            Cut::Twice => 0,
        };
        (here == done).then_some(*cut)
    }

    /// Another worker takes the member over and comes to the same act; then both perform it, phase
    /// by phase. Answers the turn that goes on: the other's, for whoever lost its lease stops.
    async fn double(&mut self, mut first: Going, act: Act) -> anyhow::Result<Option<Going>> {
        let member = first.claim.member;
        self.worker = self.fleet.worker();
        self.pass(LEASE);
        let mut second = loop {
            match self.claim(&self.worker).await? {
                Ok(claim) if claim.member == member => break Going::new(&self.context(), claim),
                Ok(_) => {}
                Err(_) => self.pass(TimeDelta::milliseconds(1)),
            }
        };
        loop {
            match second.go_on().await {
                Came::To(Border::Begins(other)) if other == act => break,
                Came::To(_) => {}
                Came::ToItsEnd(outcome) => {
                    self.settle(&second, outcome).await?;
                    return Ok(Some(first));
                }
            }
        }
        self.cut.insert(act);
        self.turns.push(format!("{member} {act:?} twice"));
        let (mut first_acts, mut second_acts) = (true, true);
        while first_acts || second_acts {
            if first_acts {
                match first.go_on().await {
                    Came::To(border) => first_acts = border == Border::Within,
                    Came::ToItsEnd(outcome) => {
                        first_acts = false;
                        self.settle_lost(&first, outcome).await?;
                    }
                }
            }
            if second_acts {
                match second.go_on().await {
                    Came::To(border) => second_acts = border == Border::Within,
                    Came::ToItsEnd(outcome) => {
                        self.settle(&second, outcome).await?;
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(second))
    }

    /// A worker that was stalled since long goes on to the end of its turn.
    pub(super) async fn finish_late(&mut self, mut late: Going) -> anyhow::Result<()> {
        self.turns
            .push(format!("the stalled turn of {} goes on", late.claim.member));
        loop {
            if let Came::ToItsEnd(outcome) = late.go_on().await {
                return self.settle_lost(&late, outcome).await;
            }
        }
    }

    async fn settle(&self, going: &Going, outcome: Outcome) -> anyhow::Result<SettleReply> {
        let settlement = Settlement {
            member: going.claim.member,
            token: going.claim.token,
            outcome,
        };
        let queue = self.fleet.queue();
        let replies = queue
            .settle(going.claim.shard, &[settlement], going.worker)
            .await?;
        replies
            .into_iter()
            .next()
            .context("one reply to one settlement")
    }

    /// The lease was taken over: what its former owner settles is refused.
    async fn settle_lost(&self, going: &Going, outcome: Outcome) -> anyhow::Result<()> {
        let reply = self.settle(going, outcome).await?;
        ensure!(
            reply == SettleReply::Lost,
            "a lost lease was settled: {reply:?}"
        );
        Ok(())
    }
}

/// An act, and how many of its phases are done.
type At = Option<(Act, usize)>;

/// From border to border: the act whose phases are counted there, and the one that goes on.
fn past(at: At, border: Border) -> (At, At) {
    let further = at.map(|(act, done)| (act, done + 1));
    match border {
        Border::Begins(act) => (Some((act, 0)), Some((act, 0))),
        Border::Within => (further, further),
        Border::Ends => (further, None),
    }
}

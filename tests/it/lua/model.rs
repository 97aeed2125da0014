//! Random verbs against Redis and against a plain model of one shard; both must agree, and the
//! promises of the queue must hold after each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use shared::ids::WorkerId;
use shared::queue::{
    BeginReply, Claim, ClaimReply, EnterReply, LeaveReply, Member, MembersCursor, Outcome, Queue,
    QueueConfig, SettleReply, Settlement, ShardStats, Token, WakeReply,
};
use tests::redis_server::RedisServer;

use super::world::{SHARD, START, resource, worker};

/// Runs of the property, and most verbs in one.
const CASES: u32 = 150;
const VERBS_MAX: usize = 60;

/// Few members, workers and moments, so that verbs meet.
const MEMBERS: u128 = 6;
const WORKERS: u128 = 3;

/// What is done to the queue. Leases are named by their place among all that were ever given.
#[derive(Debug, Clone)]
enum Verb {
    Pass(u64),
    Enter(Vec<(u128, u64)>),
    Wake(u128),
    Claim {
        worker: u128,
        limit: u16,
        lease: u64,
    },
    Extend {
        worker: u128,
        leases: Vec<usize>,
        lease: u64,
    },
    Settle {
        worker: u128,
        ends: Vec<(usize, Option<u64>)>,
    },
    SettleOfTheRightWorker {
        lease: usize,
        again: Option<u64>,
    },
    Leave(u128),
    Begin(u64),
    Flush,
}

fn any_verb() -> impl Strategy<Value = Verb> {
    let member = 0..MEMBERS;
    let worker = 0..WORKERS;
    let lease = 1..30_u64;
    let again = proptest::option::weighted(0.7, 0..50_u64);
    prop_oneof![
        6 => (0..20_u64).prop_map(Verb::Pass),
        4 => vec((member.clone(), 0..40_u64), 0..5).prop_map(Verb::Enter),
        3 => member.clone().prop_map(Verb::Wake),
        8 => (worker.clone(), 1..5_u16, lease.clone())
            .prop_map(|(worker, limit, lease)| Verb::Claim { worker, limit, lease }),
        2 => (worker.clone(), vec(0..12_usize, 0..4), lease)
            .prop_map(|(worker, leases, lease)| Verb::Extend { worker, leases, lease }),
        3 => (worker, vec((0..4_usize, again.clone()), 0..5))
            .prop_map(|(worker, ends)| Verb::Settle { worker, ends }),
        6 => (0..6_usize, again)
            .prop_map(|(lease, again)| Verb::SettleOfTheRightWorker { lease, again }),
        1 => member.prop_map(Verb::Leave),
        1 => (0..6_u64).prop_map(Verb::Begin),
        1 => Just(Verb::Flush),
    ]
}

/// Where a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
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
struct Model {
    now: u64,
    epoch: Option<u64>,
    places: BTreeMap<Member, Place>,
    given: Vec<(Claim, WorkerId)>,
    tokens: BTreeSet<Token>,
}

impl Model {
    fn new() -> Self {
        Self {
            now: START,
            epoch: None,
            places: BTreeMap::new(),
            given: vec![],
            tokens: BTreeSet::new(),
        }
    }

    fn enter(&mut self, members: &[(Member, u64)]) -> EnterReply {
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

    fn wake(&mut self, member: Member) -> WakeReply {
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
    fn claimable(&self, limit: usize) -> Vec<(Member, u64)> {
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
    fn check_claims(
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

    fn next_due(&self) -> Option<u64> {
        let moments = self.places.values().map(|place| match place {
            Place::Due(at) | Place::Leased { expires: at, .. } => *at,
        });
        moments.min().map(|at| at.saturating_sub(self.now))
    }

    fn holds(&self, claim: &Claim, by: WorkerId) -> bool {
        matches!(self.places.get(&claim.member),
            Some(Place::Leased { token, worker, .. }) if *token == claim.token && *worker == by)
    }

    fn extend(&mut self, claim: &Claim, by: WorkerId, lease: u64) -> bool {
        let held = self.holds(claim, by);
        if let Some(Place::Leased { expires, .. }) = self.places.get_mut(&claim.member)
            && held
        {
            *expires = self.now + lease;
        }
        held
    }

    fn settle(&mut self, claim: &Claim, by: WorkerId, again: Option<u64>) -> SettleReply {
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

    fn stats(&self) -> ShardStats {
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

/// The model and the real one.
struct Pair {
    model: Model,
    queue: Queue,
    server: RedisServer,
}

impl Pair {
    fn queue(&self) -> Queue {
        self.queue.at(self.model.now)
    }

    /// A lease that was once given, counted from the newest.
    fn given(&self, back: usize) -> Option<(Claim, WorkerId)> {
        self.model.given.iter().rev().nth(back).copied()
    }

    async fn run(&mut self, verb: &Verb) {
        match verb {
            Verb::Pass(ms) => self.model.now += ms,
            Verb::Enter(members) => {
                let members: Vec<_> = members
                    .iter()
                    .map(|&(member, due_in)| (resource(member), due_in))
                    .collect();
                let timed: Vec<_> = members
                    .iter()
                    .map(|&(member, ms)| (member, Duration::from_millis(ms)))
                    .collect();
                let reply = self.queue().enter(SHARD.ring, &timed).await.unwrap();
                assert_eq!(reply, self.model.enter(&members));
            }
            Verb::Wake(member) => {
                let reply = self
                    .queue()
                    .wake(SHARD.ring, resource(*member))
                    .await
                    .unwrap();
                assert_eq!(reply, self.model.wake(resource(*member)));
            }
            Verb::Claim {
                worker: number,
                limit,
                lease,
            } => {
                self.claim(worker(*number), *limit, *lease).await;
            }
            Verb::Extend {
                worker: number,
                leases,
                lease,
            } => {
                let leases: Vec<_> = leases.iter().filter_map(|&back| self.given(back)).collect();
                self.extend(worker(*number), &leases, *lease).await;
            }
            Verb::Settle {
                worker: number,
                ends,
            } => {
                let ends: Vec<_> = ends
                    .iter()
                    .filter_map(|&(back, again)| Some((self.given(back)?.0, again)))
                    .collect();
                self.settle(worker(*number), &ends).await;
            }
            Verb::SettleOfTheRightWorker { lease, again } => {
                if let Some((claim, worker)) = self.given(*lease) {
                    self.settle(worker, &[(claim, *again)]).await;
                }
            }
            Verb::Leave(member) => {
                let reply = self
                    .queue()
                    .leave(SHARD.ring, resource(*member))
                    .await
                    .unwrap();
                let left = self.model.places.remove(&resource(*member)).is_some();
                assert_eq!(
                    reply,
                    if left {
                        LeaveReply::Left
                    } else {
                        LeaveReply::Absent
                    }
                );
            }
            Verb::Begin(epoch) => self.begin(*epoch).await,
            Verb::Flush => self.flush().await,
        }
    }

    async fn claim(&mut self, by: WorkerId, limit: u16, lease: u64) {
        let expected = self.model.claimable(usize::from(limit));
        let lease_for = Duration::from_millis(lease);
        match self
            .queue()
            .claim(SHARD, limit, lease_for, by)
            .await
            .unwrap()
        {
            ClaimReply::NoRing => assert_eq!(self.model.epoch, None),
            ClaimReply::Claims { claims, next_due } => {
                assert!(self.model.epoch.is_some());
                self.model.check_claims(&claims, by, &expected, lease);
                assert_eq!(next_due, self.model.next_due().map(Duration::from_millis));
            }
        }
    }

    async fn extend(&mut self, by: WorkerId, leases: &[(Claim, WorkerId)], lease: u64) {
        let held: Vec<_> = leases
            .iter()
            .map(|(claim, _)| (claim.member, claim.token))
            .collect();
        let reply = self
            .queue()
            .extend(SHARD, &held, Duration::from_millis(lease), by)
            .await
            .unwrap();
        let expected: Vec<_> = leases
            .iter()
            .map(|(claim, _)| self.model.extend(claim, by, lease))
            .collect();
        assert_eq!(reply, expected);
    }

    async fn settle(&mut self, by: WorkerId, ends: &[(Claim, Option<u64>)]) {
        let settlements: Vec<_> = ends
            .iter()
            .map(|(claim, again)| Settlement {
                member: claim.member,
                token: claim.token,
                outcome: again.map_or(Outcome::Done, |ms| {
                    Outcome::Again(Duration::from_millis(ms))
                }),
            })
            .collect();
        let replies = self.queue().settle(SHARD, &settlements, by).await.unwrap();
        let expected: Vec<_> = ends
            .iter()
            .map(|(claim, again)| self.model.settle(claim, by, *again))
            .collect();
        assert_eq!(replies, expected);
    }

    async fn begin(&mut self, epoch: u64) {
        let reply = self.queue().begin(SHARD, epoch).await.unwrap();
        match self.model.epoch {
            Some(present) if present >= epoch => {
                assert_eq!(reply, BeginReply::Refused { present });
            }
            _ => {
                assert_eq!(reply, BeginReply::Begun);
                self.model.epoch = Some(epoch);
            }
        }
    }

    /// Everything is gone, and the next ring has an epoch above all before; time goes on.
    async fn flush(&mut self) {
        self.server.flush().await.unwrap();
        self.model.places.clear();
        self.model.epoch = None;
        self.model.now += 1;
        let above = self.model.tokens.last().map_or(0, |token| token.epoch) + 1;
        self.begin(above).await;
    }

    /// Compares every member, and checks what no verb may break.
    async fn check(&self) {
        let keys = self.queue.keys(SHARD);
        let due: BTreeMap<String, u64> = self
            .server
            .command(&["ZRANGE", &keys.due, "0", "-1", "WITHSCORES"])
            .await
            .unwrap();
        let leased: BTreeMap<String, u64> = self
            .server
            .command(&["ZRANGE", &keys.leased, "0", "-1", "WITHSCORES"])
            .await
            .unwrap();
        let owner: BTreeMap<String, String> = self
            .server
            .command(&["HGETALL", &keys.owner])
            .await
            .unwrap();

        assert!(
            due.keys().all(|member| !leased.contains_key(member)),
            "due and leased"
        );
        assert!(
            leased.keys().eq(owner.keys()),
            "an owner if and only if leased"
        );
        let mut seen: BTreeMap<Member, Place> = due
            .iter()
            .map(|(member, &at)| (member.parse().unwrap(), Place::Due(at)))
            .collect();
        for (member, &expires) in &leased {
            let (token, worker, woken) = parse_owner(&owner[member]);
            let place = Place::Leased {
                expires,
                token,
                worker,
                woken,
            };
            seen.insert(member.parse().unwrap(), place);
        }
        assert_eq!(
            seen, self.model.places,
            "no member is lost, moved or invented"
        );

        assert_eq!(self.queue().stats(SHARD).await.unwrap(), self.model.stats());
        let leased_page = self
            .queue()
            .members(SHARD, MembersCursor::START)
            .await
            .unwrap();
        let due_page = self
            .queue()
            .members(SHARD, leased_page.next.unwrap())
            .await
            .unwrap();
        assert_eq!(due_page.next, None);
        let listed: BTreeSet<_> = leased_page
            .members
            .into_iter()
            .chain(due_page.members)
            .collect();
        assert!(listed.iter().eq(self.model.places.keys()));
    }
}

fn parse_owner(entry: &str) -> (Token, WorkerId, bool) {
    let words: Vec<_> = entry.split(' ').collect();
    let token = words[0].strip_prefix("token=").unwrap().parse().unwrap();
    let worker = words[1].strip_prefix("worker=").unwrap().parse().unwrap();
    match words[2..] {
        [] => (token, worker, false),
        ["wake"] => (token, worker, true),
        _ => panic!("{entry:?}"),
    }
}

#[test]
fn random_verbs_do_what_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (server, queue) = runtime.block_on(async {
        let server = RedisServer::start().await.unwrap();
        let config = QueueConfig::single(server.url())
            .unwrap()
            .with_shards(1)
            .unwrap();
        (server, Queue::connect(config).await.unwrap())
    });
    let pair = std::cell::RefCell::new(Pair {
        model: Model::new(),
        queue,
        server,
    });
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let verbs = vec(any_verb(), 1..VERBS_MAX);
    TestRunner::new(config)
        .run(&verbs, |verbs| {
            let mut pair = pair
                .try_borrow_mut()
                .map_err(|_| TestCaseError::reject("busy"))?;
            runtime.block_on(async {
                pair.server.flush().await.unwrap();
                pair.model = Model::new();
                pair.begin(1).await;
                for verb in &verbs {
                    pair.run(verb).await;
                    pair.check().await;
                }
            });
            Ok(())
        })
        .unwrap();
}

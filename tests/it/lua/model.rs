//! Random verbs against Redis and against a plain model of one shard; both must agree, and the
//! promises of the queue must hold after each.

mod shard;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use shared::ids::WorkerId;
use shared::queue::{
    BeginReply, Claim, ClaimReply, LeaveReply, Member, MembersCursor, Outcome, Queue, QueueConfig,
    Settlement, Token,
};
use tests::redis_server::RedisServer;

use self::shard::{Model, Place};
use super::world::{SHARD, resource, worker};

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
            Verb::Enter(members) => self.enter(members).await,
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

    async fn enter(&mut self, members: &[(u128, u64)]) {
        let named = |&(number, due_in)| (resource(number), due_in);
        let members: Vec<(Member, u64)> = members.iter().map(named).collect();
        let timed = |&(member, ms)| (member, Duration::from_millis(ms));
        let timed: Vec<_> = members.iter().map(timed).collect();
        let reply = self.queue().enter(SHARD.ring, &timed).await.unwrap();
        assert_eq!(reply, self.model.enter(&members));
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

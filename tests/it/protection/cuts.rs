//! Workers that die at every border of a restore.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::ensure;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::archive::plan::Target;
use shared::archive::store::ObjectStore;
use shared::clock::{Clock as _, SystemClock};
use shared::domain::{JobKind, ResourceState};
use shared::ids::{ResourceId, ServerId};
use shared::queue::{Member, MemberKind, Ring};
use tests::world::PATIENCE;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use workers::context::{Border, Gate};

use super::backups::until_first_backup;
use super::forks::{add, numbers};
use super::world::{LOOK, Protected};
use crate::backups::world::Worker;

/// A border as one can tell it from others: what was begun last, and how many borders ago.
type Place = (String, u32);

/// Death at each border, the first time that any worker comes to it.
#[derive(Default)]
struct DeathAtEach {
    state: Mutex<State>,
    reached: Notify,
}

#[derive(Default)]
struct State {
    act: String,
    behind: u32,
    seen: BTreeSet<Place>,
}

impl DeathAtEach {
    /// Where this is, and whether nobody was here before.
    fn comes_to(&self, border: Border) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match border {
            Border::Begins(act) => (state.act, state.behind) = (format!("{act:?}"), 0),
            Border::Within | Border::Ends => state.behind += 1,
        }
        let place = (state.act.clone(), state.behind);
        state.seen.insert(place)
    }

    /// All that somebody died at.
    fn seen(&self) -> BTreeSet<Place> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen.clone()
    }
}

impl Gate for DeathAtEach {
    fn pass(&self, border: Border) -> BoxFuture<'_, ()> {
        async move {
            if self.comes_to(border) {
                self.reached.notify_one();
                pending::<()>().await;
            }
        }
        .boxed()
    }
}

/// All that brings the copy into being: its job, its own turn, and those of servers.
async fn members(protected: &Protected, copy: ResourceId) -> anyhow::Result<Vec<(Ring, Member)>> {
    let servers: Vec<ServerId> = sqlx::query_scalar("select id from servers order by id")
        .fetch_all(&protected.world.database.pool)
        .await?;
    let ringed = |kind, id| (Ring::Ring, Member { kind, id });
    let servers = servers
        .into_iter()
        .map(|id| ringed(MemberKind::Server, id.as_uuid()));
    let own = [
        Member::of_job(JobKind::Provision, copy.as_uuid()),
        ringed(MemberKind::Resource, copy.as_uuid()),
    ];
    Ok(own.into_iter().chain(servers).collect())
}

/// How many servers and participants there are.
async fn made(protected: &Protected) -> anyhow::Result<(i64, i64)> {
    let query = "select (select count(*) from servers), (select count(*) from participants)";
    let counted = sqlx::query_as(query);
    Ok(counted.fetch_one(&protected.world.database.pool).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_ends_well_although_a_worker_dies_at_each_of_its_borders() -> anyhow::Result<()> {
    let mut protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    let until = protected.until_archived(&mut customer).await?.watermark;
    add(&mut customer, 2).await?;
    protected.world.kill_worker(0).await?;
    let before = made(&protected).await?;

    let target = Target::Lsn { lsn: until };
    let copy = protected.world.fork(protected.id, "copy", target).await?;
    let (death, begun) = (Arc::new(DeathAtEach::default()), Instant::now());
    let store: Arc<dyn ObjectStore> = Arc::new(protected.server.store());
    let gate: Arc<dyn Gate> = Arc::<DeathAtEach>::clone(&death);
    let mut worker = Worker::of(&protected.world, Arc::clone(&store)).await?;
    while protected.world.row(copy).await?.state != ResourceState::Available {
        ensure!(
            begun.elapsed() < PATIENCE,
            "{:#?}\n{}",
            death.seen(),
            protected.world.story(copy).await?
        );
        for member in members(&protected, copy).await? {
            let late = SystemClock.now() - worker.clock.now();
            worker.clock.advance(late);
            let mut turn = worker.turn_of(member, Some(Arc::clone(&gate)));
            let died = tokio::select! {
                _ = &mut turn => false,
                () = death.reached.notified() => true,
            };
            drop(turn);
            if died {
                worker = Worker::of(&protected.world, Arc::clone(&store)).await?;
            }
        }
        // A copy has what was committed before it was asked for; pushes have tests of their own.
        let (timeline, push) = (protected.timeline, JobKind::WalPush);
        worker.turn(push, timeline, None).await;
        sleep(LOOK).await;
    }
    let mut owner = protected.world.connect(copy).await?;
    assert_eq!(numbers(&mut owner).await?, [1]);
    let after = made(&protected).await?;
    assert_eq!(after, (before.0 + 1, before.1 + 1), "each was made once");
    let seen = death.seen();
    assert!(seen.len() >= 20, "it has more borders: {seen:#?}");
    Ok(())
}

//! Backups that are taken from a follower, and those that are not because of what becomes of it.

use std::time::Duration;

use anyhow::Context as _;
use http::Method;
use shared::agent_api::restore::RestoreSource;
use shared::archive::plan::Target;
use shared::archive::sentinel::Sentinel;
use shared::clock::{Clock as _, SystemClock};
use shared::db::Limit;
use shared::db::archive::{Backup, backups_of};
use shared::db::jobs::{self, JobKey};
use shared::domain::{BackupState, JobKind};
use shared::ids::{BackupId, ParticipantId, RequestId, ResourceId, ServerId};
use shared::process::Signal;
use shared::queue::Member;
use sqlx::types::Json;
use sqlx::{Executor as _, PgConnection};
use tests::flip_bit;
use tests::object_server::{Fault, On};
use tests::world::{PATIENCE, write};
use tokio::time::{Instant, sleep};

use super::backups::{until_first_backup, until_under_way};
use super::followers::{follow, until_numbers, until_seen};
use super::forks::{add, capture, copy, numbers, until_succeeded};
use super::world::Protected;

/// Time between two looks while waiting.
const LOOK: Duration = Duration::from_millis(50);

/// A leader that has a backup, and a follower that has all of it and streams.
struct Pair {
    protected: Protected,
    customer: PgConnection,
    follower: ResourceId,
    participant: ParticipantId,
    server: ServerId,
}

impl Pair {
    async fn start() -> anyhow::Result<Self> {
        let protected = Protected::start().await?;
        until_first_backup(&protected).await?;
        let mut customer = protected.world.connect(protected.id).await?;
        add(&mut customer, 1).await?;
        let (follower, _) = follow(&protected, "reports").await?;
        until_numbers(&protected, follower, &[1]).await?;
        until_seen(&protected, follower, |seen| {
            seen.replay.is_some_and(|replay| replay.streaming)
        })
        .await?;
        let base = protected.world.row(follower).await?.base;
        let base = base.context("it is placed")?;
        Ok(Self {
            protected,
            customer,
            follower,
            participant: base.participant,
            server: base.server,
        })
    }

    /// What customers are shown, newest first.
    async fn listed(&self) -> anyhow::Result<Vec<Backup>> {
        let pool = &self.protected.world.database.pool;
        let page = backups_of(pool, self.protected.id, None, Limit::most()).await?;
        Ok(page.items)
    }

    /// Has one made as the schedule does.
    async fn ask(&self) -> anyhow::Result<()> {
        let world = &self.protected.world;
        let (ring, member) = Member::of_job(JobKind::BaseBackup, self.protected.timeline.as_uuid());
        let key = JobKey {
            kind: JobKind::BaseBackup,
            subject_id: member.id,
        };
        let now = SystemClock.now();
        jobs::ask(&world.database.pool, key, RequestId::new(), now).await?;
        world.queue.wake(ring, member).await?;
        Ok(())
    }

    /// Waits until the job is done, and gives the newest backup.
    async fn until_backed_up(&self) -> anyhow::Result<Backup> {
        let begun = Instant::now();
        let jobs = "select count(*) from jobs where kind = 'base_backup'";
        let pool = &self.protected.world.database.pool;
        while sqlx::query_scalar::<_, i64>(jobs).fetch_one(pool).await? > 0 {
            if begun.elapsed() > PATIENCE {
                let story = self.protected.world.story(self.protected.id).await?;
                anyhow::bail!("no backup is finished\n{story}");
            }
            sleep(LOOK).await;
        }
        let newest = self.listed().await?.into_iter().next();
        let newest = newest.context("there is a backup")?;
        assert_eq!(newest.state, BackupState::Finished);
        Ok(newest)
    }

    /// Asks for a backup whose objects do not get into the archive, and waits until it is under way.
    async fn begin_and_hold(&self) -> anyhow::Result<BackupId> {
        let faults = self.protected.server.faults();
        faults.set(Fault::Hang, On::method(Method::PUT).path_has("/backups/"));
        self.ask().await?;
        let newest = until_under_way(&self.protected).await?;
        assert!(newest.is_of_follower, "{newest:?}");
        Ok(newest.id)
    }

    /// The newest backup is whole, is not `lost` and is of the leader; nothing says that `lost` is
    /// one; and all that was committed is in a copy.
    async fn assert_leader_was_backed_up(
        &mut self,
        lost: BackupId,
        expected: &[i32],
    ) -> anyhow::Result<()> {
        let newest = self.until_backed_up().await?;
        assert!(!newest.is_of_follower && newest.id != lost, "{newest:?}");
        let listed = self.listed().await?;
        assert!(listed.iter().all(|backup| backup.id != lost));
        let pool = &self.protected.world.database.pool;
        let left: Vec<String> = sqlx::query_scalar("select state from backups where id = $1")
            .bind(lost)
            .fetch_all(pool)
            .await?;
        assert!(left.iter().all(|state| state == "failed"), "{left:?}");
        assert_eq!(self.sentinel(lost).await?, None);
        let from = (self.protected.id, "staging");
        let (fork, mut staging) = copy(&self.protected, from, Target::End).await?;
        assert_eq!(numbers(&mut staging).await?, expected);
        assert_eq!(self.source_of(fork).await?.backup, newest.id);
        Ok(())
    }

    async fn sentinel(&self, backup: BackupId) -> anyhow::Result<Option<Sentinel>> {
        let epoch = self.protected.until_epoch("there", |_| true).await?;
        let store = self.protected.server.store();
        Ok(Sentinel::find(&store, epoch.record.prefix(), backup).await?)
    }

    /// What a copy was restored from.
    async fn source_of(&self, copy: ResourceId) -> anyhow::Result<RestoreSource> {
        let query = "select restores.source from restores
                     join participants on participants.restore_id = restores.id
                     join resources on resources.participant_id = participants.id
                     where resources.id = $1";
        let Json(source) = sqlx::query_scalar::<_, Json<RestoreSource>>(query)
            .bind(copy)
            .fetch_one(&self.protected.world.database.pool)
            .await?;
        Ok(source)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_taken_from_a_follower_and_has_all_that_was_committed() -> anyhow::Result<()> {
    let mut pair = Pair::start().await?;
    write(&mut pair.customer, 5).await?;
    add(&mut pair.customer, 2).await?;
    until_numbers(&pair.protected, pair.follower, &[1, 2]).await?;
    pair.ask().await?;
    pair.until_backed_up().await?;
    let listed = pair.listed().await?;
    let [newest, first] = listed.as_slice() else {
        panic!("{listed:#?}");
    };
    assert!(newest.is_of_follower && !first.is_of_follower);
    let sentinel = pair.sentinel(newest.id).await?.context("it is complete")?;
    assert_eq!(sentinel.follower, Some(pair.participant));
    let epoch = pair.protected.until_epoch("there", |_| true).await?;
    assert!(epoch.watermark >= sentinel.stop_lsn, "{epoch:?}");
    assert!(newest.start_lsn >= first.start_lsn);

    // Its leader knows nothing of it.
    let world = &pair.protected.world;
    let leader = world.row(pair.protected.id).await?.base;
    let log_of = |server| {
        let home = world.home(server);
        let mut logs = world.logs()?.into_iter();
        let log = logs.find(|log| log.starts_with(&home) && log.ends_with("agent.log"));
        anyhow::Ok(std::fs::read_to_string(log.context("it has a log")?)?)
    };
    let name = newest.id.to_string();
    assert!(log_of(pair.server)?.contains(&name));
    assert!(!log_of(leader.context("it is placed")?.server)?.contains(&name));

    add(&mut pair.customer, 3).await?;
    let lsn = sentinel.stop_lsn;
    for (copied, target, expected) in [
        ("now", Target::End, &[1, 2, 3][..]),
        ("then", Target::Lsn { lsn }, &[1, 2][..]),
    ] {
        let of = (pair.protected.id, copied);
        let (copied, mut owner) = copy(&pair.protected, of, target).await?;
        assert_eq!(numbers(&mut owner).await?, expected);
        assert_eq!(pair.source_of(copied).await?.backup, newest.id);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_stands_still_is_not_backed_up() -> anyhow::Result<()> {
    let mut pair = Pair::start().await?;
    let world = &pair.protected.world;
    let mut operator = world.connect_as_operator(pair.follower).await?;
    operator.execute("select pg_wal_replay_pause()").await?;
    add(&mut pair.customer, 2).await?;
    // That its leader has more is known from the next push on.
    pair.protected.until_archived(&mut pair.customer).await?;
    pair.ask().await?;
    pair.until_backed_up().await?;
    let listed = pair.listed().await?;
    assert!(!listed[0].is_of_follower, "{listed:#?}");
    assert_eq!(listed.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unfollowing_does_not_wait_for_a_backup_which_then_is_taken_from_the_leader()
-> anyhow::Result<()> {
    let mut pair = Pair::start().await?;
    let lost = pair.begin_and_hold().await?;
    let unfollowed = pair.protected.world.unfollow(pair.follower).await?;
    until_succeeded(&pair.protected, unfollowed).await?;
    pair.protected.server.faults().clear();
    let mut owner = pair.protected.world.connect(pair.follower).await?;
    add(&mut owner, 9).await?;
    add(&mut pair.customer, 2).await?;
    pair.assert_leader_was_backed_up(lost, &[1, 2]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_follower_is_killed_is_taken_from_the_leader() -> anyhow::Result<()> {
    let mut pair = Pair::start().await?;
    let lost = pair.begin_and_hold().await?;
    let world = &pair.protected.world;
    world.postmaster(pair.server)?.signal(Signal::KILL)?;
    world.agent(pair.server)?.signal(Signal::KILL)?;
    pair.protected.server.faults().clear();
    add(&mut pair.customer, 2).await?;
    pair.assert_leader_was_backed_up(lost, &[1, 2]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_follower_is_silent_is_taken_from_the_leader() -> anyhow::Result<()> {
    let mut pair = Pair::start().await?;
    let lost = pair.begin_and_hold().await?;
    let agent = pair.protected.world.agent(pair.server)?;
    agent.signal(Signal::STOP)?;
    pair.protected.server.faults().clear();
    add(&mut pair.customer, 2).await?;
    let outcome = pair.until_backed_up().await;
    // One that was replaced meanwhile is gone.
    drop(agent.signal(Signal::CONT));
    outcome?;
    pair.assert_leader_was_backed_up(lost, &[1, 2]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_follower_is_destroyed_is_taken_from_the_leader() -> anyhow::Result<()> {
    let mut pair = Pair::start().await?;
    let lost = pair.begin_and_hold().await?;
    pair.protected.world.destroy(pair.follower).await?;
    pair.protected.server.faults().clear();
    add(&mut pair.customer, 2).await?;
    pair.assert_leader_was_backed_up(lost, &[1, 2]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backup_of_a_follower_is_gone_on_with_by_another_worker() -> anyhow::Result<()> {
    let mut pair = Pair::start().await?;
    let under_way = pair.begin_and_hold().await?;
    pair.protected.world.kill_worker(0).await?;
    pair.protected.start_worker().await?;
    pair.protected.server.faults().clear();
    let newest = pair.until_backed_up().await?;
    assert_eq!((newest.id, newest.is_of_follower), (under_way, true));
    let sentinel = pair.sentinel(under_way).await?;
    let follower = sentinel.and_then(|sentinel| sentinel.follower);
    assert_eq!(follower, Some(pair.participant));
    Ok(())
}

/// It shall begin behind whatever made them ask; what a follower has begins at its last checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_asks_for_is_taken_from_the_leader() -> anyhow::Result<()> {
    let pair = Pair::start().await?;
    let before = pair.listed().await?[0].stop_lsn;
    capture(&pair.protected, pair.protected.id).await?;
    let newest = pair.until_backed_up().await?;
    assert!(
        !newest.is_of_follower && newest.start_lsn >= before,
        "{newest:?}"
    );
    Ok(())
}

/// It may have lost what the follower has, and go on with something else at the same position.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_during_which_the_leader_is_started_is_taken_from_the_leader() -> anyhow::Result<()>
{
    let mut pair = Pair::start().await?;
    let lost = pair.begin_and_hold().await?;
    let world = &pair.protected.world;
    let leader = world.row(pair.protected.id).await?.base;
    let server = leader.context("it is placed")?.server;
    world.postmaster(server)?.signal(Signal::KILL)?;
    let mut customer = loop {
        if let Ok(customer) = world.connect(pair.protected.id).await {
            break customer;
        }
        sleep(LOOK).await;
    };
    pair.protected.server.faults().clear();
    add(&mut customer, 2).await?;
    pair.assert_leader_was_backed_up(lost, &[1, 2]).await
}

/// Else all backups were of the one that is damaged, until none is left that is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_with_a_damaged_page_is_not_what_is_restored_from() -> anyhow::Result<()> {
    let mut pair = Pair::start().await?;
    let world = &pair.protected.world;
    let mut operator = world.connect_as_operator(pair.protected.id).await?;
    let path: String = sqlx::query_scalar("select pg_relation_filepath('numbers')")
        .fetch_one(&mut operator)
        .await?;
    operator.execute("checkpoint").await?;
    let mut follower = world.connect_as_operator(pair.follower).await?;
    until_numbers(&pair.protected, pair.follower, &[1]).await?;
    follower.execute("checkpoint").await?;
    flip_bit(&world.data_directory(pair.server).join(path), 5000)?;
    pair.ask().await?;
    let newest = pair.until_backed_up().await?;
    let failed = "select problem from backups where state = 'failed'";
    let failed: Vec<String> = sqlx::query_scalar(failed)
        .fetch_all(&world.database.pool)
        .await?;
    assert_eq!(failed, ["the follower has pages that are damaged"]);
    assert!(!newest.is_of_follower, "{newest:?}");
    add(&mut pair.customer, 2).await?;
    let (_, mut staging) =
        copy(&pair.protected, (pair.protected.id, "staging"), Target::End).await?;
    assert_eq!(numbers(&mut staging).await?, [1, 2]);
    Ok(())
}

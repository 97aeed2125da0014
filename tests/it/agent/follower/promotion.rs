//! Followers that become leaders of their own.

use std::time::Duration;

use anyhow::Context as _;
use shared::agent_api::restore::{Leg, NewName, Rename, RestoreStage, Restored};
use shared::agent_api::{InstanceRole, InstanceSpec, InstanceStatus, Phase, RefusalCode};
use shared::archive::layout::Run;
use shared::process::Signal;
use sqlx::{Executor as _, PgConnection};
use tests::agent_server::{database, role};
use tests::world::PATIENCE;
use tokio::time::{Instant, sleep};

use super::driver::Fleet;
use crate::agent::archiving::MIB;
use crate::agent::restore::driver::Fork;
use crate::agent::restore::promotions::push;

/// Instructs a follower to lead.
pub(super) async fn unfollow(follower: &mut Fork) -> anyhow::Result<()> {
    follower.spec.generation += 1;
    follower.spec.role = InstanceRole::Leader;
    follower.spec.upstream = None;
    follower.server.instruct(&follower.spec).await?;
    Ok(())
}

fn restored(status: &InstanceStatus) -> anyhow::Result<Restored> {
    let restore = status.restore.as_ref().context("it was restored")?;
    match restore.stage {
        RestoreStage::Finished(restored) => Ok(restored),
        ref stage => anyhow::bail!("{stage:?}"),
    }
}

/// Waits until it leads, without a worker that signs anything.
async fn until_leader(follower: &Fork) -> anyhow::Result<InstanceStatus> {
    let generation = follower.spec.generation;
    follower
        .server
        .until("a leader", |status| {
            status.converged_generation == generation && status.phase == Phase::Running
        })
        .await
}

fn as_reports(spec: &mut InstanceSpec) {
    spec.role = InstanceRole::Follower;
    spec.roles.retain(|role| role.name != "shop");
    spec.roles.push(role("reports"));
    spec.databases = vec![database("reports")];
}

/// Whether nobody else may log in than the spec says, and the data is there.
async fn has_only_own_roles(owner: &mut PgConnection) -> anyhow::Result<()> {
    let strangers: Vec<String> = sqlx::query_scalar(
        "select rolname::text from pg_roles where (rolcanlogin or rolsuper or rolreplication)
            and rolname not in ('reports', 'ringmaster', 'postgres')",
    )
    .fetch_all(&mut *owner)
    .await?;
    assert!(strangers.is_empty(), "{strangers:?}");
    let found: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where tablename = 'written'")
            .fetch_one(&mut *owner)
            .await?;
    assert_eq!(found, 1);
    Ok(())
}

/// What leads does not follow again; and all of it is durable.
async fn stays_a_leader(follower: &mut Fork, began: Restored) -> anyhow::Result<()> {
    let mut again = follower.spec.clone();
    (again.generation, again.role) = (again.generation + 1, InstanceRole::Follower);
    let refused = follower.server.instruct(&again).await.unwrap_err();
    assert_eq!(
        refused.refusal().map(|refusal| refusal.code),
        Some(RefusalCode::Invalid)
    );
    follower.server.kill_agent().await?;
    follower.server.start_agent().await?;
    assert_eq!(restored(&until_leader(follower).await?)?, began);
    Ok(())
}

#[tokio::test]
async fn a_promoted_follower_is_a_leader_of_its_own_with_its_own_names() -> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let name = NewName {
        from: "shop".to_owned(),
        to: "reports".to_owned(),
    };
    fleet.source.renames = vec![Rename {
        database: name.clone(),
        role: name,
    }];
    fleet
        .world
        .session()
        .await?
        .execute("create role guest login superuser password 'x'")
        .await?;
    let server = fleet.world.server.start_beside(true).await?;
    let upstream = fleet.upstream(fleet.world.spec.port);
    let mut follower = Fork::on(&fleet.world, &fleet.source, server, |spec| {
        spec.upstream = Some(upstream);
        as_reports(spec);
    })
    .await?;
    fleet.let_stream(&[follower.server.address.server]).await?;
    fleet.until_streaming(&follower).await?;
    let rows = fleet.world.rows();
    let mut reader = follower
        .server
        .connect(&follower.spec, "shop", "shop")
        .await?;
    reader.execute("select 1").await?;

    follower.spec.promotion_tli = Some(7);
    unfollow(&mut follower).await?;
    let status = until_leader(&follower).await?;
    let began = restored(&status)?;
    assert_eq!((began.tli, began.parent_tli), (7, 1));
    let postgres = status.postgres.as_ref().context("it runs")?;
    assert_eq!(
        (
            postgres.tli,
            postgres.in_recovery,
            postgres.standby.as_ref()
        ),
        (7, Some(false), None)
    );
    assert!(postgres.flush_lsn >= Some(began.began_at));
    assert!(
        reader.execute("select 1").await.is_err(),
        "sessions of before are over"
    );
    for (role, database) in [("shop", "shop"), ("shop", "reports"), ("reports", "shop")] {
        assert!(
            follower
                .server
                .connect(&follower.spec, role, database)
                .await
                .is_err()
        );
    }
    let mut owner = follower
        .server
        .connect(&follower.spec, "reports", "reports")
        .await?;
    owner
        .execute("create table own (id int); insert into own values (1)")
        .await?;
    has_only_own_roles(&mut owner).await?;

    // The parent has not noticed.
    fleet.world.write(MIB).await?;
    assert!(fleet.world.rows() > rows);
    assert_eq!(status.crashes, 0);
    stays_a_leader(&mut follower, began).await
}

/// Numbers of timelines are hexadecimal in the names of files, and one need not follow the other.
#[tokio::test]
async fn a_history_with_a_number_far_beyond_the_one_before_is_archived_and_restored()
-> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let mut follower = fleet.stream(true).await?;
    follower.spec.promotion_tli = Some(0x1A);
    unfollow(&mut follower).await?;
    let began = restored(&until_leader(&follower).await?)?;
    assert_eq!((began.tli, began.parent_tli), (0x1A, 1));
    follower
        .session()
        .await?
        .execute("insert into written values (-1, 'x')")
        .await?;
    let run = Run {
        epoch: 2,
        tli: began.tli,
    };
    let end = push(&fleet.world, &follower, run, began.began_at).await?;
    // The first leader has gone on, and what it archives is of another history.
    fleet.write_and_push(MIB).await?;
    let mut source = fleet.source.clone();
    source.path.last_mut().context("a leg")?.end = began.began_at;
    source.path.push(Leg {
        timeline: source.timeline,
        run,
        end,
    });
    let copy = Fork::begin(&fleet.world, &source).await?;
    let left = restored(&copy.finish(&fleet.world).await?)?;
    assert_eq!((left.tli, left.parent_tli), (0x1B, 0x1A));
    assert_eq!(copy.rows().await?, follower.rows().await?);
    assert_eq!(copy.tlis_before(0x1B)?, ["1", "26"]);
    Ok(())
}

#[tokio::test]
async fn a_question_that_nobody_answers_does_not_hold_up_a_promotion() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let mut follower = fleet.follow(None, true).await?;
    fleet.until_replayed(&follower, fleet.watermark).await?;
    // From now on no worker signs anything.
    follower
        .server
        .until("asking", |status| {
            let restore = status.restore.as_ref();
            restore.is_some_and(|restore| restore.wants_wal.is_some())
        })
        .await?;
    unfollow(&mut follower).await?;
    let began = restored(&until_leader(&follower).await?)?;
    assert_eq!((began.tli, began.parent_tli), (2, 1));
    assert_eq!(began.began_at, fleet.watermark);
    assert_eq!(follower.rows().await?, fleet.world.rows());
    follower
        .session()
        .await?
        .execute("insert into written values (-1, 'x')")
        .await?;
    Ok(())
}

/// Who is killed in the middle of a promotion.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Agent,
    AgentAndPostgres,
    Postgres,
}

/// Kills when the agent has logged this.
async fn killed(victim: Victim, when: &str) -> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let die_with_agent = matches!(victim, Victim::AgentAndPostgres);
    let mut follower = fleet.stream(die_with_agent).await?;
    follower.spec.promotion_tli = Some(5);
    unfollow(&mut follower).await?;
    let log = follower.server.file("agent.log");
    let logged = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(when));
    follower.server.until("logged", |_| logged()).await?;
    match victim {
        Victim::Agent | Victim::AgentAndPostgres => {
            follower.server.kill_agent().await?;
            follower.server.start_agent().await?;
        }
        Victim::Postgres => kill_postgres(&follower)?,
    }
    let status = follower.drive(&fleet.world, "a leader", |status, _| {
        status.converged_generation == follower.spec.generation && status.phase == Phase::Running
    });
    let began = restored(&status.await?)?;
    assert_eq!((began.tli, began.parent_tli), (5, 1), "{victim:?} {when}");
    let mut session = session(&follower).await?;
    let rows: i64 = sqlx::query_scalar("select count(*) from written")
        .fetch_one(&mut session)
        .await?;
    assert_eq!(rows.unsigned_abs(), fleet.world.rows());
    session
        .execute("insert into written values (-1, 'x')")
        .await?;
    Ok(())
}

/// A session once it can be had: what the agent says may be from before it noticed the kill.
async fn session(follower: &Fork) -> anyhow::Result<PgConnection> {
    let begun = Instant::now();
    loop {
        match follower.session().await {
            Ok(session) => return Ok(session),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Kills PostgreSQL's main process, which may have ended already.
pub(super) fn kill_postgres(follower: &Fork) -> anyhow::Result<()> {
    let data = follower.server.data_directory();
    let Some(file) = shared::process::PostmasterFile::read(&data) else {
        return Ok(());
    };
    let processes = shared::process::processes_in(&data)?.into_iter();
    for process in processes.filter(|process| process.pid() == file.pid) {
        process.signal(Signal::KILL)?;
    }
    Ok(())
}

const TOLD: &str = "PostgreSQL is promoted";
const ACCEPTED: &str = "generation=2";
const SETTLED: &str = "roles, databases and slots are settled";

#[tokio::test]
async fn an_agent_that_is_killed_while_it_promotes_is_followed_by_one_that_ends_it()
-> anyhow::Result<()> {
    killed(Victim::Agent, TOLD).await?;
    killed(Victim::Agent, SETTLED).await
}

#[tokio::test]
async fn a_promotion_survives_the_end_of_agent_and_postgres() -> anyhow::Result<()> {
    killed(
        Victim::AgentAndPostgres,
        "PostgreSQL has read its configuration",
    )
    .await?;
    killed(Victim::AgentAndPostgres, TOLD).await?;
    killed(Victim::AgentAndPostgres, SETTLED).await
}

#[tokio::test]
async fn a_promotion_survives_the_end_of_postgres() -> anyhow::Result<()> {
    killed(Victim::Postgres, ACCEPTED).await?;
    killed(Victim::Postgres, TOLD).await?;
    killed(Victim::Postgres, SETTLED).await
}

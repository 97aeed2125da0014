//! What breaks on the servers of customers heals, and the events tell how.

use std::time::Duration;

use shared::db::fleet::ResourceRow;
use shared::domain::ResourceState;
use shared::ids::ServerId;
use shared::process::{Signal, processes_in};
use sqlx::{Connection as _, Executor as _};
use tests::world::{PATIENCE, World};
use tokio::time::timeout;

fn server_of(row: &ResourceRow) -> ServerId {
    row.base
        .as_ref()
        .expect("an available resource is attached")
        .server
}

async fn available(
    world: &World,
    name: &str,
) -> anyhow::Result<(shared::ids::ResourceId, ServerId)> {
    let id = world.create(name, "standard").await?;
    let row = world.until(id, ResourceState::Available).await?;
    Ok((id, server_of(&row)))
}

/// Waits until the customer gets in again.
async fn until_served(world: &World, id: shared::ids::ResourceId) -> anyhow::Result<()> {
    let served = async {
        while world.connect(id).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, served).await?;
    Ok(())
}

/// Waits until the loop of the busy session commits.
async fn until_ticking(customer: &mut sqlx::PgConnection) -> anyhow::Result<()> {
    let ticking = async {
        while sqlx::query("select from ticks limit 1")
            .fetch_optional(&mut *customer)
            .await?
            .is_none()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, ticking).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postmaster_is_started_again_and_the_events_say_so() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (id, server) = available(&world, "shop").await?;
    let mut customer = world.connect(id).await?;
    customer
        .execute("create table orders (id int); insert into orders values (7)")
        .await?;

    world.postmaster(server)?.signal(Signal::KILL)?;
    world.until_event(id, "crash_seen", 1).await?;
    world.until(id, ResourceState::Available).await?;
    until_served(&world, id).await?;
    let mut customer = world.connect(id).await?;
    let (kept,): (i32,) = sqlx::query_as("select id from orders")
        .fetch_one(&mut customer)
        .await?;
    assert_eq!(kept, 7, "a committed row is still there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_backend_does_not_outlive_its_postmaster() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (id, server) = available(&world, "shop").await?;
    let mut customer = world.connect(id).await?;
    customer.execute("create table ticks (n int)").await?;
    let url = world.url(id).await?;
    let mut busy = tokio::task::JoinSet::new();
    busy.spawn(async move {
        let mut session = sqlx::PgConnection::connect(url.expose()).await?;
        // A loop inside the server: it asks nobody and would go on committing.
        session
            .execute("do $$ begin loop insert into ticks values (1); commit; end loop; end $$")
            .await
    });
    until_ticking(&mut customer).await?;
    let before = world.postmaster(server)?;
    let busy_pids: Vec<u32> = processes_in(&world.data_directory(server))?
        .iter()
        .map(shared::process::RunningProcess::pid)
        .collect();
    before.signal(Signal::KILL)?;
    world.until_event(id, "crash_seen", 1).await?;
    until_served(&world, id).await?;
    let cut = timeout(PATIENCE, busy.join_next())
        .await?
        .expect("the session was begun")?;
    assert!(cut.is_err(), "the busy session was cut");
    let now: Vec<u32> = processes_in(&world.data_directory(server))?
        .iter()
        .map(shared::process::RunningProcess::pid)
        .collect();
    assert!(
        busy_pids.iter().all(|pid| !now.contains(pid)),
        "no process of before is left: {busy_pids:?} and {now:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_is_started_again() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (id, server) = available(&world, "shop").await?;
    let before = world.agent(server)?.pid();
    world.agent(server)?.signal(Signal::KILL)?;
    world.until_event(id, "agent_lost", 1).await?;
    world.until_event(id, "agent_answered", 2).await?;
    world.until(id, ResourceState::Available).await?;
    until_served(&world, id).await?;
    assert_ne!(world.agent(server)?.pid(), before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wedged_postgres_is_unavailable_and_then_restarted_in_place() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (id, server) = available(&world, "shop").await?;
    // Every process of it hangs: connections are accepted by the kernel and never answered.
    for process in processes_in(&world.data_directory(server))? {
        process.signal(Signal::STOP)?;
    }
    world.until_event(id, "service_lost", 1).await?;
    world.until_event(id, "recovery_started", 1).await?;
    world.until_event(id, "service_back", 1).await?;
    until_served(&world, id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_takes_all_connections_is_still_observed() -> anyhow::Result<()> {
    let world = World::start().await?;
    let id = world.create("shop", "hobby").await?;
    let row = world.until(id, ResourceState::Available).await?;
    let mut held = Vec::new();
    while let Ok(connection) = world.connect(id).await {
        held.push(connection);
    }
    let limit = usize::try_from(row.connection_limit)?;
    assert_eq!(
        held.len(),
        limit,
        "the plan's limit is the customer's limit"
    );
    let since = sqlx::query_scalar::<_, chrono::DateTime<chrono::Utc>>("select clock_timestamp()")
        .fetch_one(&world.database.pool)
        .await?;
    let seen = async {
        loop {
            let member = shared::queue::Member {
                kind: shared::queue::MemberKind::Resource,
                id: id.as_uuid(),
            };
            world.queue.wake(shared::queue::Ring::Ring, member).await?;
            let open: Option<i64> = sqlx::query_scalar(
                "select (body -> 'connections' ->> 'open')::bigint from observations
                 where resource_id = $1 and observed_at > $2 and available",
            )
            .bind(id.as_uuid())
            .bind(since)
            .fetch_optional(&world.database.pool)
            .await?;
            match open {
                Some(open) if usize::try_from(open)? >= limit => return anyhow::Ok(()),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    timeout(PATIENCE, seen).await?
}

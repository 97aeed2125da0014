//! Everything that is observed is right.

use shared::clock::{Clock as _, SystemClock};
use shared::domain::{ConnectionUse, Outage};

use super::world::{GENEROUS_MS, World, feel, prober, until};

/// Three tables that hold 1055 rows, two scans of indexes, and things that are no tables.
const CONTENTS: &str = "
    create table one (id int primary key, body text);
    create table two (id int primary key);
    create table lines (id int) partition by range (id);
    create table lines_1 partition of lines for values from (0) to (100);
    create temporary table mine (id int);
    create view seen as select * from one;
    create materialized view kept as select 1 as id;
    insert into one select n, 'x' from generate_series(1, 1000) n;
    insert into two select n from generate_series(1, 50) n;
    insert into lines select n from generate_series(1, 5) n;
    set enable_seqscan = off;
    select * from one where id = 7;
    select * from one where id = 8;
    set enable_seqscan = on;
    select count(*) from two;
";

/// What PostgreSQL itself says: size, sequential scans, its start in microseconds, WAL position.
const KNOWN: &str = "
    select concat_ws(' ', pg_database_size('shop'),
        (select sum(seq_scan) from pg_stat_user_tables where relname <> 'kept'),
        (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint,
        pg_current_wal_flush_lsn())
";

#[tokio::test]
async fn what_is_in_a_database_is_seen() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let customer = world.customer("shop").await?;
    customer.run(CONTENTS).await?;
    drop(customer);
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    // The counters of a session are complete when it has ended.
    until("the counters are complete", async || {
        let seen = feel(&prober, &target).await;
        Ok(seen
            .tables
            .is_some_and(|tables| tables.rows_estimated == 1055))
    })
    .await?;
    let admin = world.admin("shop").await?;
    let before = SystemClock.now();
    let seen = feel(&prober, &target).await;
    assert!(seen.available, "{seen:?}");
    assert_eq!(seen.outage, None);
    assert!(seen.observed_at >= before);
    assert!(seen.response_ms.is_some_and(|ms| ms > 0.0));
    let tables = seen.tables.expect("tables are counted");
    assert_eq!(tables.count, 3);
    assert_eq!(tables.rows_estimated, 1055);
    assert_eq!(tables.index_scans, 2);
    assert_eq!(tables.counted_at, seen.observed_at);
    let known = admin.text(KNOWN).await?;
    let (size, start) = (seen.database_size_bytes, seen.postgres_started_at);
    let found = [
        size.map(|bytes| bytes.to_string()),
        Some(tables.sequential_scans.to_string()),
        start.map(|at| at.timestamp_micros().to_string()),
        seen.wal_lsn.map(|lsn| lsn.to_string()),
    ];
    assert_eq!(found.map(Option::unwrap_or_default).join(" "), known);
    assert!(
        seen.cache_hit_ratio
            .is_some_and(|ratio| ratio > 0.0 && ratio <= 1.0)
    );
    assert_eq!(seen.oldest_transaction_s, None);
    assert_eq!(seen.wal_wait_ms, None);
    assert_eq!(seen.disk_used_bytes, None);
    Ok(())
}

#[tokio::test]
async fn a_database_that_was_written_to_is_measured_again() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.create("shop").await?;
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    let first = feel(&prober, &target).await.database_size_bytes;
    let idle = feel(&prober, &target).await.database_size_bytes;
    assert!(first.is_some());
    assert_eq!(idle, first, "nothing was written");
    let customer = world.customer("shop").await?;
    let grow =
        "create table large as select n, repeat('x', 100) as body from generate_series(1, 20000) n";
    customer.run(grow).await?;
    let grown = feel(&prober, &target).await.database_size_bytes;
    let known = world
        .admin("shop")
        .await?
        .text("select pg_database_size('shop')::text")
        .await?;
    assert_eq!(grown.map(|bytes| bytes.to_string()), Some(known));
    assert!(grown > first);
    Ok(())
}

#[tokio::test]
async fn connections_and_transactions_of_customers_are_seen_and_ours_are_not() -> anyhow::Result<()>
{
    let world = World::start().await?;
    world.create("shop").await?;
    world.create("other").await?;
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    let _admin = world.admin("shop").await?;
    let _elsewhere = world.customer("other").await?;
    let nobody = ConnectionUse {
        open: 0,
        active: 0,
        limit: 20,
    };
    assert_eq!(feel(&prober, &target).await.connections, Some(nobody));
    let [idle, open, busy] = [
        world.customer("shop").await?,
        world.customer("shop").await?,
        world.customer("shop").await?,
    ];
    open.run("begin; select 1").await?;
    let sleeping = busy.run("select pg_sleep(600)");
    let watched = until("two are idle and one is busy", async || {
        let seen = feel(&prober, &target).await;
        let expected = ConnectionUse {
            open: 3,
            active: 1,
            limit: 20,
        };
        Ok(seen.connections == Some(expected) && seen.oldest_transaction_s.is_some())
    });
    tokio::select! {
        ended = sleeping => anyhow::bail!("the sleep ended: {ended:?}"),
        watched = watched => watched?,
    }
    drop(idle);
    let first = feel(&prober, &target).await.oldest_transaction_s;
    until("the transaction gets older", async || {
        Ok(feel(&prober, &target).await.oldest_transaction_s > first)
    })
    .await
}

#[tokio::test]
async fn a_crash_forgets_counters_but_not_how_many_rows_there_are() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    world.create("shop").await?;
    let customer = world.customer("shop").await?;
    customer
        .run("create table one as select * from generate_series(1, 700)")
        .await?;
    customer
        .run("vacuum analyze one; checkpoint")
        .await
        .or_else(|_| anyhow::Ok(()))?;
    drop(customer);
    world.admin("shop").await?.run("vacuum analyze one").await?;
    let prober = prober(GENEROUS_MS);
    let target = world.target("shop");
    let before = feel(&prober, &target).await;
    world.server.kill().await?;
    assert_eq!(feel(&prober, &target).await.outage, Some(Outage::Refused));
    world.server.restart().await?;
    let after = feel(&prober, &target).await;
    assert_eq!(after.tables.map(|tables| tables.rows_estimated), Some(700));
    assert!(after.postgres_started_at > before.postgres_started_at);
    let seen = prober.newest().get(target.resource).expect("it was felt");
    assert_eq!(seen.restarted_from, before.postgres_started_at);
    assert_eq!(seen.since, after.observed_at);
    Ok(())
}

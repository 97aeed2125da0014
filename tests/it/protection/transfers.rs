//! Copies of databases that share a server, or come to one that is shared, by real workers.

use std::time::Duration;

use shared::archive::plan::Target;
use shared::clock::{Clock as _, SystemClock};
use shared::db::archive::release_restores;
use shared::db::resources::create::Copying;
use shared::domain::ResourceState;
use shared::ids::{ResourceId, ServerId};
use shared::process::Signal;
use sqlx::{Executor as _, PgConnection};
use tests::world::{PATIENCE, write};
use tokio::time::{Instant, sleep};

use super::backups::until_first_backup;
use super::forks::{add, numbers};
use super::world::{Protected, flushed};

/// Time between two looks while waiting.
const LOOK: Duration = Duration::from_millis(20);

/// A database with something of each kind that a dump may lose.
const CONTENTS: &str = "
    create extension hstore;
    create schema accounts;
    create type accounts.kind as enum ('basic', 'gold');
    create table accounts.customers (
        id int generated always as identity primary key,
        kind accounts.kind not null default 'basic',
        name text not null check (length(name) > 1),
        tags hstore
    );
    create index by_name on accounts.customers (lower(name));
    create table orders (
        id int primary key,
        customer int not null references accounts.customers
    );
    create function orders_of(int) returns bigint language sql stable
        as 'select count(*) from public.orders where customer = $1';
    create view busy as
        select name, orders_of(id) as orders from accounts.customers;
    create materialized view names as select name from accounts.customers;
    alter table orders enable row level security;
    alter table orders force row level security;
    create policy all_of_them on orders using (customer < 1000);
    insert into accounts.customers (name, kind, tags)
        values ('Ann', 'gold', 'a=>1'), ('Bob', 'basic', null);
    insert into orders select i, 1 + i % 2 from generate_series(1, 10) as i;
    refresh materialized view names;
    comment on table orders is 'what was bought';
    select lo_from_bytea(4711, 'a large object');
    drop schema if exists unused";

/// What all of that is, in one row.
const SUMMARY: &str = "
    select
        (select count(*) from accounts.customers where tags is null or tags -> 'a' = '1'),
        (select sum(orders)::bigint from busy),
        (select count(*) from names),
        (select convert_from(lo_get(4711), 'UTF8')),
        (select obj_description('orders'::regclass)),
        (select relforcerowsecurity from pg_class where oid = 'orders'::regclass),
        current_setting('search_path') || ' ' || current_setting('work_mem')";

type Summary = (i64, i64, i64, String, String, bool, String);

async fn fill(customer: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::raw_sql(CONTENTS).execute(&mut *customer).await?;
    let settings = "
        do $$
        begin
            execute format('alter database %I set search_path = public, accounts, \"$user\"', current_database());
            execute format('alter role %I set work_mem = ''5MB''', current_user);
        end
        $$";
    customer.execute(settings).await?;
    Ok(())
}

async fn summary(customer: &mut PgConnection) -> anyhow::Result<Summary> {
    Ok(sqlx::query_as(SUMMARY).fetch_one(customer).await?)
}

/// Asks for a copy on `plan`, and waits for it.
async fn copy_on(
    protected: &Protected,
    plan: &str,
    (parent, name): (ResourceId, &str),
    target: Target,
) -> anyhow::Result<(ResourceId, PgConnection)> {
    let world = &protected.world;
    let id = world
        .copy(plan, (parent, name), Copying::Once(target))
        .await?;
    world.until(id, ResourceState::Available).await?;
    Ok((id, world.connect(id).await?))
}

async fn server_of(protected: &Protected, id: ResourceId) -> anyhow::Result<ServerId> {
    let base = protected.world.row(id).await?.base;
    base.map(|base| base.server)
        .ok_or_else(|| anyhow::anyhow!("it is placed"))
}

/// Waits until no donor is left; tells how many there were. Nothing is held in the archive then.
async fn until_donors_are_gone(protected: &Protected) -> anyhow::Result<i64> {
    let pool = &protected.world.database.pool;
    let begun = Instant::now();
    let left = "select count(*) from participants join servers on servers.id = server_id
                where role = 'donor'
                    and (participants.state <> 'removed' or servers.state <> 'terminated')";
    while sqlx::query_scalar::<_, i64>(left).fetch_one(pool).await? > 0 {
        if begun.elapsed() > PATIENCE {
            let story = protected.world.story(protected.id).await?;
            anyhow::bail!("a donor stays:\n{story}");
        }
        sleep(LOOK).await;
    }
    let taken = "with own as (select timeline_id from participants where role = 'donor')
        select
            (select count(*) from jobs where subject_id in (select timeline_id from own))
            + (select count(*) from epochs where timeline_id in (select timeline_id from own))
            + (select count(*) from backups where timeline_id in (select timeline_id from own))";
    let taken: i64 = sqlx::query_scalar(taken).fetch_one(pool).await?;
    assert_eq!(taken, 0, "somebody took a donor for a database");
    release_restores(pool, SystemClock.now()).await?;
    let held: i64 = sqlx::query_scalar("select count(*) from restores where released_at is null")
        .fetch_one(pool)
        .await?;
    assert_eq!(held, 0, "something is held in the archive for ever");
    let query = "select count(*) from participants where role = 'donor'";
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

/// Names of the databases on the server of `id` that are on their way, and of those that are not
/// PostgreSQL's own.
async fn databases(protected: &Protected, id: ResourceId) -> anyhow::Result<Vec<String>> {
    let mut operator = protected.world.connect_as_operator(id).await?;
    let query = "select datname::text from pg_database
                 where datname not in ('postgres', 'template0', 'template1') order by oid";
    Ok(sqlx::query_scalar(query).fetch_all(&mut operator).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_shared_database_has_all_of_it_and_nothing_of_its_neighbours()
-> anyhow::Result<()> {
    let protected = Protected::start_on("hobby").await?;
    let world = &protected.world;
    let other = world.create("neighbour", "hobby").await?;
    world.until(other, ResourceState::Available).await?;
    let mut neighbour = world.connect(other).await?;
    add(&mut neighbour, 7).await?;
    until_first_backup(&protected).await?;
    let mut customer = world.connect(protected.id).await?;
    fill(&mut customer).await?;
    drop(customer);
    // With what is set for its sessions.
    let mut customer = world.connect(protected.id).await?;
    let before = summary(&mut customer).await?;
    assert_eq!(before.0, 2);
    let lsn = flushed(&mut customer).await?;
    customer.execute("delete from orders where id > 5").await?;
    add(&mut neighbour, 8).await?;

    let then = Target::Lsn { lsn };
    let (copy, mut owner) = copy_on(&protected, "hobby", (protected.id, "staging"), then).await?;
    let found = summary(&mut owner).await?;
    assert_eq!(found, before);
    assert_eq!(
        server_of(&protected, copy).await?,
        server_of(&protected, other).await?
    );

    // Everything belongs to its own role, which is nothing special, and can go on.
    let foreign: i64 = sqlx::query_scalar(
        "select count(*) from pg_class
         where relowner <> (select oid from pg_roles where rolname = current_user)
             and relnamespace in ('public'::regnamespace, 'accounts'::regnamespace)",
    )
    .fetch_one(&mut owner)
    .await?;
    assert_eq!(foreign, 0);
    let plain: bool = sqlx::query_scalar(
        "select not rolsuper and not rolbypassrls from pg_roles where rolname = current_user",
    )
    .fetch_one(&mut owner)
    .await?;
    assert!(plain);
    owner
        .execute("insert into accounts.customers (name) values ('Cy')")
        .await?;
    owner
        .execute("insert into orders select 11, id from accounts.customers where name = 'Cy'")
        .await?;

    // The neighbours notice nothing: each has one database, and no other.
    assert_eq!(numbers(&mut neighbour).await?, [7, 8]);
    let kept: i64 = sqlx::query_scalar("select count(*) from orders")
        .fetch_one(&mut customer)
        .await?;
    assert_eq!(kept, 5);
    assert_eq!(databases(&protected, copy).await?.len(), 3);
    assert_eq!(until_donors_are_gone(&protected).await?, 1);

    drop(owner);
    world.destroy(copy).await?;
    world.until(copy, ResourceState::Deprovisioned).await?;
    assert_eq!(databases(&protected, other).await?.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_to_a_server_of_its_own_and_back_to_a_shared_one() -> anyhow::Result<()> {
    let protected = Protected::start_on("hobby").await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    customer
        .execute("drop schema public cascade; create schema own")
        .await?;
    customer
        .execute("create table own.numbers (number int)")
        .await?;
    customer
        .execute("insert into own.numbers values (1)")
        .await?;
    let of = (protected.id, "large");
    let (large, mut owner) = copy_on(&protected, "standard", of, Target::End).await?;
    let of_own = "select number from own.numbers order by 1";
    let found: Vec<i32> = sqlx::query_scalar(of_own).fetch_all(&mut owner).await?;
    assert_eq!(found, [1]);
    let public: bool = sqlx::query_scalar("select to_regnamespace('public') is null")
        .fetch_one(&mut owner)
        .await?;
    assert!(public, "a schema that was dropped is there again");
    assert_eq!(databases(&protected, large).await?.len(), 1);
    owner.execute("insert into own.numbers values (2)").await?;

    let of = (large, "small");
    let (small, mut owner) = copy_on(&protected, "hobby", of, Target::End).await?;
    let found: Vec<i32> = sqlx::query_scalar(of_own).fetch_all(&mut owner).await?;
    assert_eq!(found, [1, 2]);
    let (home, original) = (
        server_of(&protected, small).await?,
        server_of(&protected, protected.id).await?,
    );
    assert_eq!(home, original);
    assert_eq!(until_donors_are_gone(&protected).await?, 2);
    Ok(())
}

/// The reason for which a copy was not made, once nothing of it is left.
async fn refusal(protected: &Protected, id: ResourceId) -> anyhow::Result<String> {
    protected
        .world
        .until(id, ResourceState::Deprovisioned)
        .await?;
    let query = "select error from operations where resource_id = $1";
    let error: Option<String> = sqlx::query_scalar(query)
        .bind(id)
        .fetch_one(&protected.world.database.pool)
        .await?;
    assert_eq!(
        databases(protected, protected.id).await?.len(),
        1,
        "{error:?}"
    );
    until_donors_are_gone(protected).await?;
    Ok(error.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_brought_over_is_told_and_leaves_nothing() -> anyhow::Result<()> {
    let protected = Protected::start_on("hobby").await?;
    let world = &protected.world;
    until_first_backup(&protected).await?;
    let mut customer = world.connect(protected.id).await?;
    let before = flushed(&mut customer).await?;
    let late = world.create("late", "hobby").await?;
    world.until(late, ResourceState::Available).await?;
    let too_early = Target::Lsn { lsn: before };
    let id = world
        .copy("hobby", (late, "early"), Copying::Once(too_early))
        .await?;
    world.until(id, ResourceState::Deprovisioned).await?;
    world.destroy(late).await?;
    world.until(late, ResourceState::Deprovisioned).await?;
    let error = refusal(&protected, id).await?;
    assert!(error.contains("was not there at that time"), "{error}");

    // An index whose function needs a search path: no dump of it can be restored.
    sqlx::raw_sql(
        "create table words (word text);
         insert into words values ('a');
         create function inner_one(text) returns text immutable language sql as 'select $1';
         create function outer_one(text) returns text immutable language plpgsql
             as 'begin return inner_one($1); end';
         create index by_function on words (outer_one(word))",
    )
    .execute(&mut customer)
    .await?;
    let of = (protected.id, "staging");
    let id = world.copy("hobby", of, Copying::Once(Target::End)).await?;
    let error = refusal(&protected, id).await?;
    assert!(error.contains("could not be brought over"), "{error}");
    assert!(error.contains("inner_one"), "{error}");
    Ok(())
}

/// Waits until a database is on its way to the server of `id`, whose PostgreSQL may be away.
async fn until_on_its_way(protected: &Protected, id: ResourceId) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is_on_its_way(protected, id).await.unwrap_or(false) {
        if begun.elapsed() > PATIENCE {
            let story = protected.world.story(id).await?;
            anyhow::bail!("no database is on its way\n{story}");
        }
        sleep(LOOK).await;
    }
    Ok(())
}

async fn is_on_its_way(protected: &Protected, id: ResourceId) -> anyhow::Result<bool> {
    let mut operator = protected.world.connect_as_operator(id).await?;
    let query = "select exists (select from pg_stat_activity where datname like '%~new')";
    Ok(sqlx::query_scalar(query).fetch_one(&mut operator).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_brought_over_whoever_dies() -> anyhow::Result<()> {
    let mut protected = Protected::start_on("hobby").await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    write(&mut customer, 64).await?;
    let of = (protected.id, "staging");
    let id = protected
        .world
        .copy("hobby", of, Copying::Once(Target::End))
        .await?;
    until_on_its_way(&protected, protected.id).await?;
    let server = server_of(&protected, protected.id).await?;
    protected.world.kill_worker(0).await?;
    protected.world.agent(server)?.signal(Signal::KILL)?;
    protected.start_worker().await?;
    until_on_its_way(&protected, protected.id).await?;
    let postmaster = protected.world.postmaster(server)?;
    postmaster.signal(Signal::QUIT)?;
    postmaster.ended().await?;
    // It may have been there a moment before.
    let begun = Instant::now();
    let mut owner = loop {
        protected.world.until(id, ResourceState::Available).await?;
        match protected.world.connect(id).await {
            Ok(owner) => break owner,
            Err(error) => anyhow::ensure!(begun.elapsed() < PATIENCE, "no way in: {error:#}"),
        }
        sleep(LOOK).await;
    };
    assert_eq!(numbers(&mut owner).await?, [1]);
    assert_eq!(databases(&protected, id).await?.len(), 2);
    assert_eq!(until_donors_are_gone(&protected).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_destroyed_on_its_way_leaves_nothing() -> anyhow::Result<()> {
    let protected = Protected::start_on("hobby").await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 64).await?;
    let of = (protected.id, "staging");
    let id = protected
        .world
        .copy("hobby", of, Copying::Once(Target::End))
        .await?;
    until_on_its_way(&protected, protected.id).await?;
    protected.world.destroy(id).await?;
    refusal(&protected, id).await?;
    // The name is free.
    let (_, _owner) = copy_on(&protected, "hobby", of, Target::End).await?;
    Ok(())
}

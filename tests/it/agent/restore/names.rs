//! Forks under names of their own.

use shared::agent_api::InstanceSpec;
use shared::agent_api::restore::{NewName, Rename, Target};
use sqlx::Executor as _;
use tests::agent_server::{AgentServer, database, role};

use super::driver::{Fork, source};
use crate::agent::archiving::{MIB, World};
use crate::agent::backup::driver::back_up;

/// The parent's `shop`, renamed.
fn as_staging() -> Vec<Rename> {
    let name = NewName {
        from: "shop".to_owned(),
        to: "staging".to_owned(),
    };
    vec![Rename {
        database: name.clone(),
        role: name,
    }]
}

fn staging(spec: &mut InstanceSpec) {
    spec.roles.retain(|role| role.name != "shop");
    spec.roles.push(role("staging"));
    spec.databases = vec![database("staging")];
}

#[tokio::test]
async fn what_the_parents_owner_had_belongs_to_the_owner_of_the_fork() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    let mut parent = world.server.connect(&world.spec, "shop", "shop").await?;
    parent
        .execute(
            "create schema private;
            create table private.orders (id int primary key);
            insert into private.orders values (1), (2), (3)",
        )
        .await?;
    world.write(MIB).await?;
    let (_, manifest) = back_up(&world).await?;
    parent
        .execute("create table later as select * from private.orders")
        .await?;
    let end = world.push_all(start).await?;

    let mut source = source(&world, &manifest, end, Target::End);
    source.renames = as_staging();
    let server = AgentServer::start(true).await?;
    let mut fork = Fork::on(&world, &source, server, staging).await?;
    fork.finish(&world).await?;
    let mut owner = fork
        .server
        .connect(&fork.spec, "staging", "staging")
        .await?;
    let orders: i64 = sqlx::query_scalar("select count(*) from private.orders")
        .fetch_one(&mut owner)
        .await?;
    assert_eq!(orders, 3);
    owner
        .execute(
            "alter table private.orders add column note text;
            update private.orders set note = 'mine';
            drop table later;
            create table private.more (id int)",
        )
        .await?;
    for (role, database) in [("shop", "staging"), ("staging", "shop"), ("shop", "shop")] {
        let refused = fork.server.connect(&fork.spec, role, database).await;
        assert!(refused.is_err(), "{role} {database}");
    }
    let left: i64 = sqlx::query_scalar(
        "select (select count(*) from pg_roles where rolname = 'shop')
            + (select count(*) from pg_database where datname = 'shop')",
    )
    .fetch_one(&mut owner)
    .await?;
    assert_eq!(left, 0, "nothing has the name of the parent");

    // Names are replaced once: what is made later under the old one stays.
    fork.spec.generation = 2;
    fork.spec.roles.push(role("shop"));
    fork.spec.databases.push(database("shop"));
    fork.server.converge(&fork.spec).await?;
    fork.server.kill_agent().await?;
    fork.server.start_agent().await?;
    fork.spec.generation = 3;
    fork.server.converge(&fork.spec).await?;
    fork.server.connect(&fork.spec, "shop", "shop").await?;
    fork.server
        .connect(&fork.spec, "staging", "staging")
        .await?;
    Ok(())
}

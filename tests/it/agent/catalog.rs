//! Roles and databases of neighbours on one server.

use shared::agent_api::{PROBER_ROLE, RoleSpec};
use sqlx::{Connection as _, Executor as _};
use tests::agent_server::{AgentServer, database, role, spec};

#[tokio::test]
async fn neighbours_cannot_reach_each_other() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut spec = spec().await?;
    spec.roles = vec![
        role("shop"),
        role("blog"),
        RoleSpec {
            superuser: true,
            ..role(PROBER_ROLE)
        },
    ];
    spec.databases = vec![database("shop"), database("blog")];
    server.converge(&spec).await?;
    for (role, own, closed) in [
        ("shop", "shop", ["blog", "postgres", "template1"]),
        ("blog", "blog", ["shop", "postgres", "template1"]),
    ] {
        server.connect(&spec, role, own).await?.close().await?;
        for other in closed {
            let refused = server
                .connect(&spec, role, other)
                .await
                .unwrap_err()
                .to_string();
            assert!(
                refused.contains("permission denied"),
                "{role} {other}: {refused}"
            );
        }
    }
    let mut owner = server.connect(&spec, "shop", "shop").await?;
    owner
        .execute("create schema mine; create table public.t (id int)")
        .await?;
    for forbidden in [
        "create role friend",
        "create database more",
        "alter role shop superuser",
        "alter role shop connection limit 1000",
        "alter system set fsync = off",
        "copy public.t from program 'id'",
        "select pg_read_file('/etc/passwd')",
        "alter database blog connection limit 0",
        "drop database blog",
    ] {
        assert!(owner.execute(forbidden).await.is_err(), "{forbidden}");
    }
    let mut prober = server.connect(&spec, PROBER_ROLE, "blog").await?;
    let superuser: String = sqlx::query_scalar("show is_superuser")
        .fetch_one(&mut prober)
        .await?;
    assert_eq!(superuser, "on");
    Ok(())
}

#[tokio::test]
async fn what_is_named_absent_is_dropped_with_its_sessions() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut spec = spec().await?;
    spec.roles = vec![role("shop"), role("blog")];
    spec.databases = vec![database("shop"), database("blog")];
    server.converge(&spec).await?;
    let mut gone = server.connect(&spec, "blog", "blog").await?;
    gone.execute("create table posts (id int)").await?;

    spec.generation = 2;
    spec.roles = vec![role("shop")];
    spec.databases = vec![database("shop")];
    spec.absent.databases = vec!["blog".to_owned()];
    spec.absent.roles = vec!["blog".to_owned()];
    server.converge(&spec).await?;
    assert!(gone.execute("select 1").await.is_err());
    assert!(server.connect(&spec, "blog", "blog").await.is_err());
    server.connect(&spec, "shop", "shop").await?.close().await?;

    spec.generation = 3;
    spec.absent.databases.clear();
    spec.absent.roles.clear();
    spec.roles.push(role("blog"));
    spec.databases.push(database("blog"));
    server.converge(&spec).await?;
    let mut new = server.connect(&spec, "blog", "blog").await?;
    assert!(
        new.execute("select from posts").await.is_err(),
        "the name is free, the data is gone"
    );
    Ok(())
}

#[tokio::test]
async fn a_changed_password_is_the_only_one_that_works() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut spec = spec().await?;
    server.converge(&spec).await?;
    let mut owner = server.connect(&spec, "shop", "shop").await?;
    owner
        .execute("alter role shop password 'chosen by the customer'")
        .await?;
    assert!(server.connect(&spec, "shop", "shop").await.is_err());
    spec.generation = 2;
    spec.roles = vec![role("shop")];
    server.converge(&spec).await?;
    server.connect(&spec, "shop", "shop").await?.close().await?;
    let log = std::fs::read_to_string(server.file("server/postgres.log"))?;
    assert!(!log.contains("SCRAM-SHA-256$"), "{log}");
    let log = std::fs::read_to_string(server.file("agent.log"))?;
    assert!(!log.contains("SCRAM-SHA-256$"), "{log}");
    Ok(())
}

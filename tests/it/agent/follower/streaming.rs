//! Who may stream, and what a follower is good for.

use shared::agent_api::{InstanceRole, Phase, REPLICATION_ROLE};
use shared::clock::SystemClock;
use shared::ids::{RequestId, ServerId};
use sqlx::Executor as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use super::driver::Fleet;
use crate::agent::archiving::MIB;

#[tokio::test]
async fn a_follower_streams_answers_queries_and_cannot_write() -> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let follower = fleet.stream(true).await?;
    fleet.world.write(MIB).await?;
    let replay = fleet.until_streaming(&follower).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    assert!(replay.receive_lsn >= replay.replay_lsn, "{replay:?}");
    assert!(replay.replayed_commit_at.is_some() && replay.paused.is_none());
    let status = follower.server.status().await?;
    assert_eq!(
        (status.phase, status.converged_generation),
        (Phase::Running, 1)
    );
    let postgres = status.postgres.expect("it runs");
    assert_eq!(
        (postgres.in_recovery, postgres.flush_lsn),
        (Some(true), None)
    );
    assert!(postgres.archive_slot.is_some(), "a slot of its own");

    for mut session in [
        follower.session().await?,
        follower
            .server
            .connect(&follower.spec, "shop", "shop")
            .await?,
    ] {
        for write in [
            "insert into written values (-1, 'x')",
            "create table own (id int)",
            "create temporary table own (id int)",
            "create role friend",
            "alter role shop password 'other'",
            "drop database shop",
            "select nextval('pg_catalog.pg_type_oid_seq')",
            "begin read write",
            "set transaction_read_only = off; delete from written",
            "vacuum",
        ] {
            let outcome = session.execute(write).await;
            assert!(outcome.is_err(), "{write}");
        }
        drop(session);
    }
    assert_eq!(follower.rows().await?, fleet.world.rows());
    let slots: i64 = sqlx::query_scalar("select count(*) from pg_replication_slots")
        .fetch_one(&mut fleet.world.session().await?)
        .await?;
    assert_eq!(slots, 1, "no slot at the leader is for a follower");
    let feedback: String = sqlx::query_scalar("show hot_standby_feedback")
        .fetch_one(&mut follower.session().await?)
        .await?;
    assert_eq!(feedback, "off");
    Ok(())
}

/// Tries to stream from the leader as `role` with a certificate.
async fn try_to_stream(
    fleet: &Fleet,
    (certificate, key): (&str, &str),
) -> anyhow::Result<Result<PgConnection, sqlx::Error>> {
    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("crt"), certificate)?;
    std::fs::write(file("key"), key)?;
    let options: PgConnectOptions = fleet
        .world
        .server
        .connect_options(&fleet.world.spec, REPLICATION_ROLE, "shop")
        .ssl_client_cert(file("crt"))
        .ssl_client_key(file("key"));
    Ok(options.connect().await)
}

#[tokio::test]
async fn only_the_named_servers_stream() -> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let port = fleet.world.spec.port;
    let follower = fleet.follow(Some(port), true).await?;
    fleet.let_stream(&[ServerId::new()]).await?;
    let watermark = fleet.watermark;
    fleet.until_replayed(&follower, watermark).await?;
    let refused = || {
        fleet
            .world
            .server
            .postgres_log()
            .contains("ringmaster_replication")
    };
    follower
        .drive(&fleet.world, "refused", |_, _| refused())
        .await?;
    let log = std::fs::read_to_string(fleet.world.server.file("server/postgres.log"))?;
    assert!(
        log.contains("no match in usermap \"ringmaster_streamers\""),
        "{log}"
    );
    let status = follower.server.status().await?;
    assert_eq!(status.standby().and_then(|it| it.streams_from), None);

    // Named, it streams; another one beside it changes nothing for it.
    let ours = follower.server.address.server;
    fleet.let_stream(&[ours]).await?;
    fleet.until_streaming(&follower).await?;
    fleet.let_stream(&[ours, ServerId::new()]).await?;
    fleet.until_streaming(&follower).await?;

    // The role has no other use, and no other key.
    let authority = &fleet.world.server.authority;
    let worker = fleet.world.server.worker()?;
    let stranger = authority.issue_for_server(ServerId::new(), &[], &SystemClock)?;
    let own = authority.issue_for_server(ours, &[], &SystemClock)?;
    for identity in [worker, stranger, own] {
        let with = (identity.certificate_pem.as_str(), identity.key_pem.expose());
        let outcome = try_to_stream(&fleet, with).await?;
        assert!(outcome.is_err(), "only streaming, only by who is named");
    }
    let without = fleet
        .world
        .server
        .connect(&fleet.world.spec, REPLICATION_ROLE, "shop");
    assert!(without.await.is_err());

    // Not named any more, it is cut off at once, and follows through the archive.
    fleet.let_stream(&[]).await?;
    follower
        .drive(&fleet.world, "cut off", |status, _| {
            status
                .standby()
                .is_some_and(|standby| standby.streams_from.is_none())
        })
        .await?;
    let roles: i64 = sqlx::query_scalar("select count(*) from pg_roles where rolreplication")
        .fetch_one(&mut fleet.world.session().await?)
        .await?;
    assert_eq!(roles, 1, "only PostgreSQL's own");
    let goal = fleet.write_and_push(2 * MIB).await?;
    fleet.until_replayed(&follower, goal).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    Ok(())
}

#[tokio::test]
async fn a_follower_whose_certificate_was_renewed_streams_from_a_leader_that_was_restarted()
-> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let follower = fleet.stream(true).await?;
    let (client, address) = (&follower.server.client, follower.server.address);
    let current = client.certificate(address, RequestId::new()).await?;
    let addresses = [address.address.ip()];
    let renewed = follower.server.authority.renew_for_server(
        &current,
        address.server,
        &addresses,
        &SystemClock,
    )?;
    client
        .replace_certificate(address, renewed.clone(), RequestId::new())
        .await?;
    let file = follower.server.file("server/configuration/server.crt");
    let written = || std::fs::read_to_string(&file).is_ok_and(|pem| pem == renewed);
    follower
        .drive(&fleet.world, "written", |_, _| written())
        .await?;

    fleet.world.spec.generation += 1;
    fleet.world.spec.incarnation += 1;
    fleet.world.server.converge(&fleet.world.spec).await?;
    fleet.world.write(MIB).await?;
    fleet.until_streaming(&follower).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    let status = follower.server.status().await?;
    assert_eq!(
        (status.crashes, follower.spec.role),
        (0, InstanceRole::Follower)
    );
    Ok(())
}

//! Backups of followers, and what they are good for.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use http::Method;
use shared::agent_api::RefusalCode;
use shared::agent_api::backup::{BackupOrder, BackupPhase};
use shared::agent_api::restore::Target;
use shared::archive::manifest::Manifest;
use shared::ids::{BackupId, ParticipantId};
use sqlx::{Executor as _, PgConnection};
use tests::object_server::Fault;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::driver::Fleet;
use super::promotion::unfollow;
use crate::agent::archiving::MIB;
use crate::agent::backup::driver::{Subject, back_up, drive, order, send};
use crate::agent::restore::driver::{Fork, now, source};

/// What a test wrote: how many, the last, and a digest of all.
const CONTENT: &str = "
    select count(*), coalesce(max(id), 0), coalesce(sum(hashtext(ledger::text)), 0),
        (select coalesce(sum(hashtext(balances::text)), 0) from balances)
    from ledger";

type Contents = (i64, i64, i64, i64);

async fn contents(session: &mut PgConnection) -> anyhow::Result<Contents> {
    Ok(sqlx::query_as(CONTENT).fetch_one(session).await?)
}

/// A leader with tables that are written to, and a follower that has them.
async fn start() -> anyhow::Result<(Fleet, Fork)> {
    // Without them WAL does not repair what was torn: PostgreSQL refuses to back a follower up.
    let settings = [("full_page_writes", "on"), ("autovacuum", "off")];
    let mut fleet = Fleet::with_settings(&settings).await?;
    let follower = fleet.stream(true).await?;
    fleet
        .world
        .session()
        .await?
        .execute(
            "create table balances (id int primary key, balance bigint, filler text);
            insert into balances select id, 0, repeat(md5(id::text), 3)
                from generate_series(1, 20000) as id;
            create table ledger (id bigint primary key, at timestamptz not null);
            checkpoint",
        )
        .await?;
    fleet.until_streaming(&follower).await?;
    Ok((fleet, follower))
}

/// Commits numbers without a hole, until `enough`: in the order of their commits.
async fn load(mut session: PgConnection, enough: CancellationToken) -> anyhow::Result<i64> {
    let mut id = 0;
    while !enough.is_cancelled() {
        id += 1;
        sqlx::query(
            "with moved as (
                update balances set balance = balance + $1
                where id in (select (random() * 20000)::int from generate_series(1, 20))
            )
            insert into ledger values ($1, clock_timestamp())",
        )
        .bind(id)
        .execute(&mut session)
        .await?;
        if id % 200 == 0 {
            session.execute("checkpoint").await?;
        }
    }
    Ok(id)
}

fn of<'a>(fleet: &'a Fleet, follower: &'a Fork) -> Subject<'a> {
    Subject {
        world: &fleet.world,
        server: &follower.server,
        spec: &follower.spec,
    }
}

/// Everything that is in a restore of this backup to `target`.
async fn restored(fleet: &Fleet, manifest: &Manifest, target: Target) -> anyhow::Result<Contents> {
    let source = source(&fleet.world, manifest, fleet.watermark, target);
    let fork = Fork::begin(&fleet.world, &source).await?;
    fork.finish(&fleet.world).await?;
    contents(&mut fork.session().await?).await
}

#[tokio::test]
async fn a_backup_of_a_follower_under_load_has_exactly_the_rows_with_the_wal_after_it()
-> anyhow::Result<()> {
    let (mut fleet, follower) = start().await?;
    let enough = CancellationToken::new();
    let backing_up = async {
        let made = back_up(of(&fleet, &follower)).await;
        enough.cancel();
        made
    };
    let session = fleet.world.session().await?;
    let (made, written) = tokio::join!(backing_up, load(session, enough.clone()));
    let (status, manifest) = made?;
    let written = written?;
    assert!(written > 20, "there was load");
    assert!(manifest.backup_label.contains("BACKUP FROM: standby"));
    assert!(manifest.start_lsn < manifest.stop_lsn);
    let BackupPhase::Finished { damaged_pages, .. } = status.phase else {
        panic!("{status:#?}");
    };
    assert_eq!(damaged_pages, 0);
    let watermark = fleet.write_and_push(MIB).await?;
    assert!(manifest.stop_lsn <= watermark);

    let expected = contents(&mut fleet.world.session().await?).await?;
    assert_eq!((expected.0, expected.1), (written, written));
    assert_eq!(restored(&fleet, &manifest, Target::End).await?, expected);
    let (lsn, at) = (manifest.stop_lsn, manifest.stopped_at);
    for target in [Target::Lsn { lsn }, Target::Time { at }] {
        let (count, last, ..) = restored(&fleet, &manifest, target).await?;
        assert!(count == last && count > 0, "{target}: {count} of {last}");
    }
    Ok(())
}

#[tokio::test]
async fn a_backup_of_a_follower_that_is_behind_says_up_to_when_it_goes() -> anyhow::Result<()> {
    let (mut fleet, follower) = start().await?;
    let mut leader = fleet.world.session().await?;
    leader
        .execute("insert into ledger values (1, clock_timestamp())")
        .await?;
    let replayed = fleet.until_streaming(&follower).await?;
    let mut session = follower.session().await?;
    session.execute("select pg_wal_replay_pause()").await?;
    // Moments of commits are told to a second.
    sleep(Duration::from_millis(1100)).await;
    let before = now(&fleet.world).await?;
    leader
        .execute("insert into ledger values (2, clock_timestamp())")
        .await?;
    fleet.write_and_push(2 * MIB).await?;

    let (_, manifest) = back_up(of(&fleet, &follower)).await?;
    assert!(manifest.stopped_at < before, "{before}: {manifest:?}");
    // A record or two may have come before the pause.
    let end = replayed.replay_lsn.context("it replays")?;
    assert!(manifest.stop_lsn.bytes() - end.bytes() < 8192, "{end}");
    let at = manifest.stopped_at;
    let then = restored(&fleet, &manifest, Target::Time { at }).await?;
    assert_eq!((then.0, then.1), (1, 1));
    let expected = contents(&mut leader).await?;
    assert_eq!(restored(&fleet, &manifest, Target::End).await?, expected);
    Ok(())
}

#[tokio::test]
async fn a_follower_that_has_replayed_no_commit_since_its_start_is_backed_up() -> anyhow::Result<()>
{
    let (mut fleet, mut follower) = start().await?;
    let mut leader = fleet.world.session().await?;
    leader
        .execute("insert into ledger values (1, clock_timestamp())")
        .await?;
    leader.execute("checkpoint").await?;
    fleet.until_streaming(&follower).await?;
    follower.session().await?.execute("checkpoint").await?;
    follower.spec.generation += 1;
    follower.spec.incarnation += 1;
    follower.server.instruct(&follower.spec).await?;
    fleet.until_streaming(&follower).await?;
    let commit: Option<DateTime<Utc>> =
        sqlx::query_scalar("select pg_last_xact_replay_timestamp()")
            .fetch_one(&mut follower.session().await?)
            .await?;
    assert_eq!(commit, None);

    let (_, first) = back_up(of(&fleet, &follower)).await?;
    // No checkpoint was made meanwhile, so it begins where the first one does.
    let (_, second) = back_up(of(&fleet, &follower)).await?;
    assert_eq!(first.start_lsn, second.start_lsn);
    assert!(first.stop_lsn <= second.stop_lsn && first.stopped_at <= second.stopped_at);
    fleet.watermark = fleet.world.push_all(fleet.watermark).await?;
    let expected = contents(&mut leader).await?;
    let at = second.stopped_at;
    for target in [Target::End, Target::Time { at }] {
        assert_eq!(restored(&fleet, &second, target).await?, expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_backup_fails_when_its_follower_is_promoted_and_does_not_hold_that_up()
-> anyhow::Result<()> {
    let (fleet, mut follower) = start().await?;
    let receiver = &fleet.world.receiver;
    receiver.fail(&Method::PUT, &vec![Fault::Hang; 8]);
    let backup = BackupId::new();
    drive(of(&fleet, &follower), backup, |status| {
        status.pieces_begun > 0
    })
    .await?;
    unfollow(&mut follower).await?;
    let generation = follower.spec.generation;
    follower
        .server
        .until("a leader", |status| {
            status.converged_generation == generation
        })
        .await?;
    receiver.heal();
    let ended = drive(of(&fleet, &follower), backup, |_| false).await?;
    let BackupPhase::Failed { detail } = &ended.phase else {
        panic!("{ended:?}");
    };
    assert!(detail.contains("promoted"), "{detail}");
    let objects = receiver.objects().await?;
    let manifest = fleet.world.prefix.backup_manifest(backup);
    assert!(!objects.contains_key(&manifest), "it is no backup");

    // Nothing more of the old history comes from it.
    let order = order(of(&fleet, &follower), BackupId::new()).await?;
    let refused = send(of(&fleet, &follower), &order);
    let error = refused.await.unwrap_err();
    let code = error.refusal().map(|refusal| refusal.code);
    assert_eq!(code, Some(RefusalCode::OtherHistory), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn an_order_about_something_else_is_refused_by_a_follower_too() -> anyhow::Result<()> {
    let (fleet, follower) = start().await?;
    let refused = async |change: fn(&mut BackupOrder)| {
        let subject = of(&fleet, &follower);
        let mut order = order(subject, BackupId::new()).await.unwrap();
        change(&mut order);
        let error = send(subject, &order).await.unwrap_err();
        error.refusal().unwrap_or_else(|| panic!("{error:?}")).code
    };
    let other = refused(|order| order.participant = ParticipantId::new());
    assert_eq!(other.await, RefusalCode::OtherParticipant);
    let cluster = refused(|order| order.system_identifier = 1);
    assert_eq!(cluster.await, RefusalCode::OtherHistory);
    let tli = refused(|order| order.run.tli = 2);
    assert_eq!(tli.await, RefusalCode::OtherHistory);
    Ok(())
}

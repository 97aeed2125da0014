//! Followers that have only the archive, or fall back to it.

use sqlx::Executor as _;
use tests::tcp_proxy::TcpProxy;

use super::driver::Fleet;
use crate::agent::archiving::MIB;

/// A part of a segment of 1 MiB.
const LITTLE: u64 = 100 * 1024;

#[tokio::test]
async fn without_an_upstream_a_follower_has_all_that_is_archived() -> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let mut follower = fleet.follow(None, true).await?;
    let watermark = fleet.watermark;
    fleet.until_replayed(&follower, watermark).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    // One segment, bit by bit, and the ends of some.
    for bytes in [LITTLE, LITTLE, 3 * LITTLE, 2 * MIB, LITTLE] {
        let goal = fleet.write_and_push(bytes).await?;
        fleet.until_replayed(&follower, goal).await?;
        assert_eq!(follower.rows().await?, fleet.world.rows());
    }
    let status = follower.server.status().await?;
    let seen = status.standby().expect("it follows");
    assert_eq!((seen.streams_from, seen.receive_lsn), (None, None));

    // It goes on in the middle of a segment by streaming, and gets ahead of the archive.
    follower.spec.generation += 1;
    follower.spec.upstream = Some(fleet.upstream(fleet.world.spec.port));
    follower.server.instruct(&follower.spec).await?;
    fleet.let_stream(&[follower.server.address.server]).await?;
    fleet.world.write(LITTLE).await?;
    fleet.until_streaming(&follower).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    // The archive has less than it has, and must not take it back.
    follower.spec.generation += 1;
    follower.spec.upstream = None;
    follower.server.converge(&follower.spec).await?;
    let asked = |status: &shared::agent_api::InstanceStatus| {
        let restore = status.restore.as_ref();
        restore.is_some_and(|restore| restore.wants_wal.is_some())
    };
    for _ in 0..3 {
        follower
            .drive(&fleet.world, "asking", |status, _| asked(status))
            .await?;
        follower
            .drive(&fleet.world, "answered", |status, _| !asked(status))
            .await?;
    }
    follower.spec.generation += 1;
    follower.spec.incarnation += 1;
    follower.server.instruct(&follower.spec).await?;
    let generation = follower.spec.generation;
    follower
        .drive(&fleet.world, "started again", |status, _| {
            status.converged_generation == generation && status.standby().is_some()
        })
        .await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    let goal = fleet.write_and_push(MIB).await?;
    fleet.until_replayed(&follower, goal).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    Ok(())
}

#[tokio::test]
async fn a_follower_that_fell_off_heals_from_the_archive() -> anyhow::Result<()> {
    let settings = [("min_wal_size", "2MB"), ("max_wal_size", "4MB")];
    let mut fleet = Fleet::with_settings(&settings).await?;
    let mut way = TcpProxy::start(fleet.world.spec.port).await?;
    let follower = fleet.follow(Some(way.port()), true).await?;
    fleet.let_stream(&[follower.server.address.server]).await?;
    let replay = fleet.until_streaming(&follower).await?;
    let left_at = replay.replay_lsn.expect("it replays");

    way.close().await;
    let goal = fleet.write_and_push(8 * MIB).await?;
    let mut call = fleet.world.call(Vec::new());
    call.safe_lsn = goal;
    fleet.world.push(&call).await?;
    let mut session = fleet.world.session().await?;
    let needed = fleet.world.segment_file(left_at);
    for _ in 0..20 {
        session
            .execute("select pg_switch_wal(); checkpoint")
            .await?;
        if !needed.exists() {
            break;
        }
        fleet.write_and_push(MIB).await?;
        call.safe_lsn = fleet.watermark;
        fleet.world.push(&call).await?;
    }
    assert!(!needed.exists(), "the leader has removed the WAL");
    way.open().await?;
    fleet.world.write(MIB).await?;
    fleet.until_streaming(&follower).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    let status = follower.server.status().await?;
    assert_eq!((status.crashes, status.converged_generation), (0, 1));
    Ok(())
}

#[tokio::test]
async fn a_hole_below_the_watermark_is_said_and_never_passed() -> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let objects = fleet.world.receiver.objects().await?;
    let mut chunks = objects.iter().filter(|(key, _)| key.contains("/wal/"));
    let (key, object) = chunks.next_back().expect("WAL is archived");
    fleet.world.receiver.remove(key).await?;
    let follower = fleet.follow(None, true).await?;
    let status = follower
        .drive(&fleet.world, "in trouble", |_, restore| {
            let trouble = restore.trouble.as_ref();
            trouble.is_some_and(|trouble| trouble.contains("there is no WAL at"))
        })
        .await?;
    assert!(status.last_error.is_some(), "{status:?}");
    fleet.world.receiver.insert(key, object.clone()).await?;
    let watermark = fleet.watermark;
    fleet.until_replayed(&follower, watermark).await?;
    let goal = fleet.write_and_push(LITTLE).await?;
    fleet.until_replayed(&follower, goal).await?;
    assert_eq!(follower.rows().await?, fleet.world.rows());
    Ok(())
}

//! What becomes of places.

use http::Method;
use shared::agent_api::wal::Placed;
use shared::archive::frame::{self, Content, Label};
use shared::archive::layout::Run;
use shared::ids::TimelineId;
use shared::units::Lsn;
use sqlx::Executor as _;
use tests::object_server::Fault;

use crate::agent::archiving::{MIB, RUN, SIGNATURE, World, after};

#[tokio::test]
async fn everything_flushed_is_pushed_and_is_what_the_files_hold() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    let mut end = world.push_all(start).await?;
    for _ in 0..3 {
        world.write(700_000).await?;
        // The rest of this segment stays empty.
        world
            .session()
            .await?
            .execute("select pg_switch_wal()")
            .await?;
        world.write(300_000).await?;
        end = world.push_all(end).await?;
    }
    let (pushed, reached) = world.chain(start).await?;
    assert_eq!(reached, end);
    assert!(pushed == world.files(start..end)?, "the bytes are the same");
    assert!(pushed.len() > 3_000_000);

    let objects = world.receiver.objects().await?;
    let first = world.ranges(start, 1).remove(0);
    let again = world.push_one(first).await?;
    assert!(matches!(again, Placed::Adopted { .. }), "{again:?}");
    assert_eq!(world.receiver.objects().await?, objects);
    let log = std::fs::read_to_string(world.server.file("agent.log"))?;
    assert!(!log.contains(SIGNATURE), "{log}");
    Ok(())
}

#[tokio::test]
async fn an_idle_database_gets_no_object() -> anyhow::Result<()> {
    let world = World::start().await?;
    let end = world.push_all(world.start_of_slot().await?).await?;
    let objects = world.receiver.objects().await?;
    for _ in 0..3 {
        let places = world.ranges(end, 2);
        let places = world.chunks(&places).await?;
        let pushed = world.push(&world.call(places)).await?;
        assert_eq!((pushed.flush_lsn, pushed.chunks), (end, Vec::new()));
    }
    assert_eq!(world.receiver.objects().await?, objects);
    Ok(())
}

#[tokio::test]
async fn what_another_push_stored_is_adopted_wherever_it_was_cut() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(2 * MIB).await?;
    let (short, long) = (after(start, 100_000), after(start, 200_000));
    let stored = world.push_one(start..short).await?;
    assert!(matches!(stored, Placed::Stored { end, .. } if end == short));
    assert_eq!(
        world.push_one(start..long).await?,
        Placed::Adopted { end: short }
    );
    assert!(matches!(
        world.push_one(short..long).await?,
        Placed::Stored { .. }
    ));
    assert_eq!(
        world.push_one(short..after(short, 1)).await?,
        Placed::Adopted { end: long }
    );

    // Two at once, with other ends: one chain comes of it.
    let ranges = world.ranges(long, 3);
    let whole = world.call(world.chunks(&ranges).await?);
    let cut = after(long, 5000);
    let cut = world.call(vec![
        world.chunk(&(long..cut)).await?,
        world.chunk(&(cut..ranges[0].end)).await?,
    ]);
    let (one, other) = tokio::join!(world.push(&whole), world.push(&cut));
    for placed in one?.chunks.iter().chain(&other?.chunks) {
        assert!(
            matches!(placed, Placed::Stored { .. } | Placed::Adopted { .. }),
            "{placed:?}"
        );
    }
    let end = world.push_all(world.chain(start).await?.1).await?;
    let (pushed, reached) = world.chain(start).await?;
    assert_eq!(reached, end);
    assert!(pushed == world.files(start..end)?);
    Ok(())
}

#[tokio::test]
async fn other_content_is_a_conflict_and_stays_as_it_is() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(MIB).await?;
    let end = after(start, 50_000);
    let key = world.prefix.chunk(RUN, start);
    let plain = world.files(start..end)?;
    let label = |timeline: TimelineId, run: Run, end: Lsn| Label {
        timeline,
        system_identifier: world.prefix.system_identifier,
        content: Content::Wal {
            epoch: run.epoch,
            tli: run.tli,
            start,
            end,
        },
    };
    let ours = world.prefix.timeline;
    let mut changed = plain.clone();
    changed[40_000] ^= 1;
    let beyond = [plain.as_slice(), &vec![0; 16 * 1024 * 1024]].concat();
    let other_run = Run { epoch: 2, ..RUN };
    for (object, expected) in [
        (
            frame::encode(&label(ours, RUN, end), &changed, 1)?,
            format!("differs from our WAL at {}", after(start, 40_000)),
        ),
        (
            frame::encode(&label(TimelineId::new(), RUN, end), &plain, 1)?,
            "of timeline".to_owned(),
        ),
        (
            frame::encode(&label(ours, other_run, end), &plain, 1)?,
            "epoch 2".to_owned(),
        ),
        (
            frame::encode(&label(ours, RUN, after(end, 16 * MIB)), &beyond, 1)?,
            "ends at".to_owned(),
        ),
        (b"something else".to_vec(), "frame of metadata".to_owned()),
        (vec![7; 20 * 1024 * 1024], "too large".to_owned()),
    ] {
        world.receiver.insert(&key, object).await?;
        let before = world.receiver.objects().await?;
        let placed = world.push_one(start..end).await?;
        let Placed::Conflict { detail } = &placed else {
            panic!("{placed:?} instead of {expected}");
        };
        assert!(detail.contains(&expected), "{detail}");
        assert_eq!(world.receiver.objects().await?, before);
    }
    Ok(())
}

#[tokio::test]
async fn where_conditions_are_ignored_it_looks_before_it_writes() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.receiver.ignore_conditions().await?;
    let start = world.start_of_slot().await?;
    world.write(2 * MIB).await?;
    let ranges = world.ranges(start, 2);
    let key = world.prefix.chunk(RUN, ranges[1].start);
    world.receiver.insert(&key, "of somebody else").await?;
    for again in [false, true] {
        let pushed = world
            .push(&world.call(world.chunks(&ranges).await?))
            .await?
            .chunks;
        assert!(
            match &pushed[0] {
                Placed::Stored { end, .. } => !again && *end == ranges[0].end,
                Placed::Adopted { end } => again && *end == ranges[0].end,
                _ => false,
            },
            "{pushed:?}"
        );
        assert!(matches!(pushed[1], Placed::Conflict { .. }), "{pushed:?}");
    }
    let objects = world.receiver.objects().await?;
    assert_eq!(objects[&key], "of somebody else");
    Ok(())
}

#[tokio::test]
async fn an_object_that_reaches_beyond_the_flushed_wal_is_a_conflict() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.push_all(world.start_of_slot().await?).await?;
    world.write(1000).await?;
    let flushed = world.flush_lsn().await?;
    let mut plain = world.files(start..flushed)?;
    plain.extend([7; 8]);
    let label = Label {
        timeline: world.prefix.timeline,
        system_identifier: world.prefix.system_identifier,
        content: Content::Wal {
            epoch: RUN.epoch,
            tli: RUN.tli,
            start,
            end: after(flushed, 8),
        },
    };
    let object = frame::encode(&label, &plain, 1)?;
    world
        .receiver
        .insert(&world.prefix.chunk(RUN, start), object)
        .await?;
    let placed = world.push_one(world.ranges(start, 1).remove(0)).await?;
    assert!(
        matches!(&placed, Placed::Conflict { detail } if detail.contains("beyond all")),
        "{placed:?}"
    );
    Ok(())
}

#[tokio::test]
async fn segments_of_any_size_are_cut_into_chunks_and_put_together() -> anyhow::Result<()> {
    let settings = [("min_wal_size", "128MB"), ("max_wal_size", "256MB")];
    let world = World::with_segments(64, &settings).await?;
    let start = world.start_of_slot().await?;
    world.write(20 * MIB).await?;
    world
        .session()
        .await?
        .execute("select pg_switch_wal()")
        .await?;
    world.write(1000).await?;
    let end = world.push_all(start).await?;
    let (pushed, reached) = world.chain(start).await?;
    assert_eq!(reached, end);
    assert!(pushed == world.files(start..end)?);

    let mut call = world.call(Vec::new());
    call.segments = vec![
        world.segment(start).await?,
        world.segment(after(start, world.segment_bytes)).await?,
    ];
    let first = world.push(&call).await?.segments;
    assert!(
        matches!(
            first.as_slice(),
            [Placed::Stored { end, .. }, Placed::Failed { .. }]
                if end.bytes() == start.bytes() + world.segment_bytes
        ),
        "only what is flushed to its end: {first:?}"
    );
    let object = &world.receiver.objects().await?[&world.prefix.segment(RUN, start)];
    let (_, whole) = frame::decode(object)?;
    assert!(whole == std::fs::read(world.segment_file(start))?);
    call.segments.truncate(1);
    world.receiver.fail(&Method::GET, &[Fault::TruncateContent]);
    let again = world.push(&call).await?.segments;
    assert!(
        matches!(again.as_slice(), [Placed::Adopted { .. }]),
        "{again:?}"
    );
    Ok(())
}

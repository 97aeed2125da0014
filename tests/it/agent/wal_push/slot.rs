//! The slot that keeps WAL until it is in the archive.

use http::Method;
use shared::agent_api::SlotWal;
use shared::agent_api::wal::Placed;
use shared::archive::frame::{self, Content, Label};
use shared::units::Lsn;
use sqlx::Executor as _;
use tests::object_server::Fault;

use crate::agent::archiving::{MIB, RUN, World, after};

#[tokio::test]
async fn the_slot_moves_up_to_what_is_safe_and_never_back() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    let created = world.slot().await?;
    world.write(3 * MIB).await?;
    let end = world.push_all(start).await?;
    assert_eq!(world.slot().await?, created, "pushed is not yet safe");

    let advance = async |safe_lsn: Lsn| {
        let mut call = world.call(Vec::new());
        call.safe_lsn = safe_lsn;
        let pushed = world.push(&call).await?;
        anyhow::ensure!(pushed.slot_restart_lsn == world.slot().await?);
        Ok(pushed.slot_restart_lsn)
    };
    let safe = after(start, 2 * MIB);
    assert_eq!(advance(safe).await?, Some(safe));
    assert_eq!(advance(after(start, MIB)).await?, Some(safe), "back");
    assert_eq!(
        advance(after(end, MIB)).await?,
        Some(safe),
        "not written yet"
    );

    let status = world.server.status().await?;
    let slot = status.postgres.unwrap().archive_slot.unwrap();
    assert_eq!(
        (slot.restart_lsn, slot.wal_status, slot.safe_wal_bytes),
        (Some(safe), SlotWal::Reserved, None)
    );
    Ok(())
}

#[tokio::test]
async fn recycled_wal_is_missing_and_the_slot_is_made_anew() -> anyhow::Result<()> {
    let settings = [
        ("max_slot_wal_keep_size", "1MB"),
        ("min_wal_size", "2MB"),
        ("max_wal_size", "2MB"),
    ];
    let world = World::with_segments(1, &settings).await?;
    let start = world.start_of_slot().await?;
    let limited = world
        .server
        .until("seen", |status| {
            let postgres = status.postgres.as_ref();
            postgres.is_some_and(|postgres| postgres.archive_slot.is_some())
        })
        .await?;
    let slot = limited.postgres.unwrap().archive_slot.unwrap();
    assert!(slot.safe_wal_bytes.is_some(), "{slot:?}");
    world.write(6 * MIB).await?;
    world.session().await?.execute("checkpoint").await?;
    assert_eq!(world.slot().await?, None);

    let range = world.ranges(start, 1).remove(0);
    let call = world.call(vec![world.chunk(&range).await?]);
    let pushed = world.push(&call).await?;
    assert_eq!(
        (pushed.chunks, pushed.slot_restart_lsn),
        (vec![Placed::Missing], None)
    );
    let mut compact = world.call(Vec::new());
    compact.segments = vec![world.segment(start).await?];
    let gone = world.push(&compact).await?.segments;
    assert_eq!(gone, [Placed::Missing]);
    let pushed = world.push(&call).await?;
    assert_eq!(pushed.chunks, [Placed::Missing]);
    let held = pushed.slot_restart_lsn.unwrap();
    assert!(held > range.end && held <= pushed.flush_lsn);

    // From there on nothing is lost.
    let start = world.start_of_slot().await?;
    let end = world.push_all(start).await?;
    assert!(world.chain(start).await?.0 == world.files(start..end)?);
    Ok(())
}

#[tokio::test]
async fn a_segment_that_was_stored_and_not_answered_is_adopted_when_its_wal_is_gone()
-> anyhow::Result<()> {
    let settings = [("min_wal_size", "2MB"), ("max_wal_size", "2MB")];
    let world = World::with_segments(1, &settings).await?;
    let start = world.start_of_slot().await?;
    world.write(3 * MIB).await?;
    let mut compact = world.call(Vec::new());
    compact.segments = vec![world.segment(start).await?];
    let stored = world.push(&compact).await?.segments;
    assert!(matches!(stored[..], [Placed::Stored { .. }]), "{stored:?}");
    // As if nobody had heard of that: the slot moves on, and PostgreSQL removes the file.
    let end = world.push_all(start).await?;
    let mut safe = world.call(Vec::new());
    safe.safe_lsn = Lsn::from_bytes(end.bytes() - end.bytes() % world.segment_bytes);
    world.push(&safe).await?;
    let file = world.segment_file(start);
    let mut session = world.session().await?;
    for _ in 0..10 {
        world.write(2 * MIB).await?;
        session.execute("checkpoint").await?;
        if !file.exists() {
            break;
        }
    }
    assert!(!file.exists(), "{} is kept", file.display());

    let key = world.prefix.segment(RUN, start);
    let object = world.receiver.objects().await?.remove(&key).unwrap();
    world.receiver.fail(&Method::GET, &[Fault::TruncateContent]);
    let segment_end = after(start, world.segment_bytes);
    let again = world.push(&compact).await?.segments;
    assert_eq!(again, [Placed::Adopted { end: segment_end }]);

    // What is damaged, not whole or of another run is not taken for it.
    let (metadata, plain) = frame::decode(&object)?;
    let label = |epoch: u32, end: Lsn| Label {
        timeline: metadata.timeline,
        system_identifier: metadata.system_identifier,
        content: Content::Wal {
            epoch,
            tli: RUN.tli,
            start,
            end,
        },
    };
    let mut damaged = object.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    for other in [
        b"of somebody".to_vec(),
        damaged,
        frame::encode(&label(1, after(start, 500)), &plain[..500], 1)?,
        frame::encode(&label(2, segment_end), &plain, 1)?,
    ] {
        world.receiver.insert(&key, other).await?;
        let there = world.push(&compact).await?.segments;
        assert!(matches!(there[..], [Placed::Conflict { .. }]), "{there:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_slot_is_there_as_soon_as_the_instance_is_as_instructed() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let held = world.slot().await?;
    assert!(held.is_some());
    let drop = "select pg_drop_replication_slot('ringmaster_archive')";
    world.session().await?.execute(drop).await?;
    world.spec.generation = 2;
    world.spec.slots.push("another".to_owned());
    world.server.converge(&world.spec).await?;
    let names: Vec<String> = sqlx::query_scalar(
        "select slot_name::text from pg_replication_slots where restart_lsn is not null order by 1",
    )
    .fetch_all(&mut world.session().await?)
    .await?;
    assert_eq!(names, ["another", "ringmaster_archive"]);
    Ok(())
}

//! Stores and networks that fail.

use std::time::Duration;

use http::Method;
use shared::agent_api::wal::Placed;
use tests::object_server::Fault;
use tokio::time::Instant;

use crate::agent::archiving::{MIB, RUN, SIGNATURE, World, after};

#[tokio::test]
async fn what_fails_for_a_moment_is_tried_again_until_it_is_stored() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(2 * MIB).await?;
    let faults = [
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::Answer(409, "ConditionalRequestConflict"),
        Fault::ResetUpload(1000),
        Fault::ErrorInside200,
        Fault::Hang,
    ];
    world.receiver.fail(&Method::PUT, &faults);
    let range = world.ranges(start, 1).remove(0);
    let placed = world.push_one(range.clone()).await?;
    assert!(matches!(placed, Placed::Stored { .. }), "{placed:?}");
    assert_eq!(world.receiver.requests(&Method::PUT), faults.len() + 1);

    // Stored, but nobody was told; and what is there cannot be read at once.
    world.receiver.fail(&Method::PUT, &[Fault::LoseAnswer]);
    let faults = [
        Fault::Answer(503, "SlowDown"),
        Fault::TruncateContent,
        Fault::Hang,
        Fault::ErrorInside200,
    ];
    world.receiver.fail(&Method::GET, &faults);
    let next = world.ranges(range.end, 1).remove(0);
    let placed = world.push_one(next.clone()).await?;
    assert_eq!(placed, Placed::Adopted { end: next.end });
    assert_eq!(world.receiver.requests(&Method::GET), faults.len() + 1);
    let (pushed, end) = world.chain(start).await?;
    assert!(pushed == world.files(start..end)?);
    Ok(())
}

#[tokio::test]
async fn the_answer_comes_in_time_and_says_what_was_not_done() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(3 * MIB).await?;
    let ranges = world.ranges(start, 3);
    let mut call = world.call(world.chunks(&ranges).await?);
    call.answer_within_ms = 1500;
    let begun = Instant::now();
    world.receiver.fail(&Method::PUT, &vec![Fault::Hang; 3]);
    let pushed = world.push(&call).await?;
    assert!(begun.elapsed().as_millis() >= 1500);
    assert_eq!(pushed.chunks, vec![Placed::Unfinished; 3]);
    assert!(world.receiver.objects().await?.is_empty());
    world.receiver.heal();

    world.receiver.fail(
        &Method::PUT,
        &vec![Fault::Answer(500, "InternalError"); 100],
    );
    let pushed = world.push(&call).await?;
    let failed = Placed::Failed {
        detail: "the archive answers 500 Internal Server Error: InternalError".to_owned(),
    };
    assert_eq!(pushed.chunks, vec![failed; 3]);
    world.receiver.heal();

    // Nothing helps against these, so nothing is waited for.
    call.answer_within_ms = 60_000;
    world
        .receiver
        .fail(&Method::PUT, &vec![Fault::Answer(403, "AccessDenied"); 3]);
    let pushed = world.push(&call).await?;
    let failed = Placed::Failed {
        detail: "the archive answers 403 Forbidden: AccessDenied".to_owned(),
    };
    assert_eq!(pushed.chunks, vec![failed; 3]);

    let pushed = world.push(&call).await?;
    assert!(
        pushed
            .chunks
            .iter()
            .all(|placed| matches!(placed, Placed::Stored { .. })),
        "{pushed:?}"
    );
    let log = std::fs::read_to_string(world.server.file("agent.log"))?;
    assert!(!log.contains(SIGNATURE), "{log}");
    Ok(())
}

#[tokio::test]
async fn nobody_there_is_a_failure_that_tells_no_secret() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let start = world.start_of_slot().await?;
    let range = start..after(start, 1000);
    let mut call = world.call(vec![world.chunk(&range).await?]);
    call.answer_within_ms = 1000;
    world.receiver.stop().await?;
    let pushed = world.push(&call).await?;
    let [Placed::Failed { detail }] = pushed.chunks.as_slice() else {
        panic!("{pushed:?}");
    };
    assert!(detail.contains("refused"), "{detail}");
    assert!(!detail.contains(SIGNATURE), "{detail}");
    let log = std::fs::read_to_string(world.server.file("agent.log"))?;
    assert!(!log.contains(SIGNATURE), "{log}");
    Ok(())
}

#[tokio::test]
async fn an_agent_that_is_killed_in_the_middle_is_followed_by_one_that_goes_on()
-> anyhow::Result<()> {
    let mut world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(3 * MIB).await?;
    let ranges = world.ranges(start, 3);
    let call = world.call(world.chunks(&ranges).await?);
    let faults = [Fault::Hang, Fault::LoseAnswer, Fault::Hang];
    world.receiver.fail(&Method::PUT, &faults);
    let client = world.server.client.clone();
    let (address, request_id) = (world.server.address, shared::ids::RequestId::new());
    let kill = async {
        world.receiver.until_requested(&Method::PUT, 3).await?;
        world.server.kill_agent().await
    };
    let (lost, killed) = tokio::join!(client.push_wal(address, &call, request_id), kill);
    killed?;
    assert!(lost.is_err(), "{lost:?}");
    world.server.start_agent().await?;
    world
        .server
        .until("running", |status| status.postgres.is_some())
        .await?;
    let pushed = world.push(&call).await?;
    for placed in &pushed.chunks {
        assert!(
            matches!(placed, Placed::Stored { .. } | Placed::Adopted { .. }),
            "{placed:?}"
        );
    }
    assert!(
        pushed
            .chunks
            .iter()
            .any(|placed| matches!(placed, Placed::Adopted { .. }))
    );
    let (bytes, end) = world.chain(start).await?;
    assert_eq!(end, ranges[2].end);
    assert!(bytes == world.files(start..end)?);
    assert_eq!(world.receiver.objects().await?.len(), 3, "{RUN}");
    Ok(())
}

#[tokio::test]
async fn what_was_signed_long_ago_writes_nothing_and_is_signed_anew() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(MIB / 2).await?;
    let range = world.ranges(start, 1).remove(0);
    let mut place = world.chunk(&range).await?;
    let key = world.prefix.chunk(RUN, start);
    let shortly = Duration::from_secs(1);
    (place.put, place.get) = world.receiver.sign_for(&key, shortly).await?;
    tokio::time::sleep(shortly * 2).await;
    let late = world.push(&world.call(vec![place])).await?.chunks;
    assert!(
        matches!(late.as_slice(), [Placed::Failed { detail }] if detail.contains("403")),
        "{late:?}"
    );
    assert!(world.receiver.objects().await?.is_empty());
    let anew = world.push_one(range).await?;
    assert!(matches!(anew, Placed::Stored { .. }), "{anew:?}");
    Ok(())
}

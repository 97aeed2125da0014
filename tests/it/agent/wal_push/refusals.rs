//! Pushes that are refused, and change nothing.

use shared::agent_api::wal::WalPush;
use shared::agent_api::{InstanceRole, RefusalCode};
use shared::ids::ParticipantId;

use crate::agent::archiving::{World, after};

#[tokio::test]
async fn a_push_about_something_else_is_refused_and_changes_nothing() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let start = world.start_of_slot().await?;
    let ranges = world.ranges(start, 2);
    let places = world.chunks(&ranges).await?;
    let refused = async |change: fn(&mut WalPush)| {
        let mut push = world.call(places.clone());
        // Would be advanced to, if the call were accepted.
        push.safe_lsn = after(start, 1000);
        change(&mut push);
        let error = world.push(&push).await.unwrap_err();
        let refusal = error.refusal().unwrap_or_else(|| panic!("{error:?}"));
        refusal.code
    };
    let other = refused(|push| push.participant = ParticipantId::new());
    assert_eq!(other.await, RefusalCode::OtherParticipant);
    let late = refused(|push| push.generation = 0);
    assert_eq!(late.await, RefusalCode::OldGeneration);
    let early = refused(|push| push.generation = 2);
    assert_eq!(early.await, RefusalCode::UnknownGeneration);
    let cluster = refused(|push| push.system_identifier += 1);
    assert_eq!(cluster.await, RefusalCode::OtherHistory);
    let tli = refused(|push| push.run.tli = 2);
    assert_eq!(tli.await, RefusalCode::OtherHistory);
    let hole = refused(|push| push.chunks[1].start = after(push.chunks[1].start, 1));
    assert_eq!(hole.await, RefusalCode::Invalid);
    let across = refused(|push| push.chunks[1].end = after(push.chunks[1].end, 1));
    assert_eq!(across.await, RefusalCode::Invalid);
    let part = refused(|push| {
        push.segments = push.chunks.split_off(1);
        push.segments[0].end = after(push.segments[0].start, 8192);
    });
    assert_eq!(part.await, RefusalCode::Invalid);
    let endless = refused(|push| push.answer_within_ms = 60_001);
    assert_eq!(endless.await, RefusalCode::Invalid);
    assert!(world.receiver.objects().await?.is_empty());
    assert!(
        world
            .slot()
            .await?
            .is_some_and(|held| held <= after(start, world.segment_bytes))
    );

    let push = world.call(places.clone());
    world.spec.generation = 2;
    world.spec.role = InstanceRole::Stopped;
    world.server.converge(&world.spec).await?;
    let code = async |push: &WalPush| {
        let error = world.push(push).await.unwrap_err();
        error.refusal().unwrap_or_else(|| panic!("{error:?}")).code
    };
    assert_eq!(code(&push).await, RefusalCode::OldGeneration);
    let push = WalPush {
        generation: 2,
        ..push
    };
    assert_eq!(code(&push).await, RefusalCode::NotRunning);
    Ok(())
}

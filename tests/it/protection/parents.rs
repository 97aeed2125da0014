//! An original that is destroyed while copies of it have no backup of their own.

use std::sync::Arc;

use chrono::TimeDelta;
use http::Method;
use shared::archive::layout::all_of;
use shared::archive::plan::Target;
use shared::archive::retention::KEEP_MARKED;
use shared::archive::store::ObjectStore as _;
use shared::domain::ResourceState;
use tests::object_server::{Fault, On};
use tests::world::PATIENCE;
use tokio::time::{Instant, sleep};

use super::backups::until_first_backup;
use super::forks::{add, capture, copy, numbers};
use super::world::{LOOK, Protected};
use crate::backups::world::Worker;

/// Deletes whatever may be of the original, as of far in the future. Tells whether something is left.
async fn expire(protected: &Protected, worker: &Worker) -> anyhow::Result<bool> {
    let begun = Instant::now();
    for _ in 0..2 {
        worker.clock.advance(KEEP_MARKED);
        while !worker.expire(protected.timeline).await? {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "it does not end");
            sleep(LOOK).await;
        }
    }
    let (store, all) = (protected.server.store(), all_of(protected.timeline));
    let left = store.list(&all, None, 1).await?;
    Ok(!left.is_empty())
}

/// Waits until nothing of its server is left.
async fn until_gone(protected: &Protected) -> anyhow::Result<()> {
    let query = "select exists (
            select from participants
            where timeline_id = $1 and role = 'leader' and state <> 'removed'
        )";
    let begun = Instant::now();
    while sqlx::query_scalar(query)
        .bind(protected.timeline)
        .fetch_one(&protected.world.database.pool)
        .await?
    {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "its server does not go");
        sleep(LOOK).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_that_is_long_gone_is_kept_until_its_copies_have_backups() -> anyhow::Result<()>
{
    let protected = Protected::start().await?;
    until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    add(&mut customer, 1).await?;
    // From now on nobody can make a backup.
    let faults = protected.server.faults();
    let refused = Fault::Answer(503, "SlowDown");
    faults.set(refused, On::method(Method::PUT).path_has("/backups/"));
    let (first, mut owner) = copy(&protected, (protected.id, "first"), Target::End).await?;
    add(&mut owner, 2).await?;
    drop(customer);
    protected.world.destroy(protected.id).await?;
    let world = &protected.world;
    world
        .until(protected.id, ResourceState::Deprovisioned)
        .await?;
    until_gone(&protected).await?;

    let store = Arc::new(protected.server.store());
    let worker = Worker::of(world, store).await?;
    worker.clock.advance(TimeDelta::days(400));
    assert!(expire(&protected, &worker).await?, "the copy needs it");
    let (second, mut owner) = copy(&protected, (first, "second"), Target::End).await?;
    assert_eq!(numbers(&mut owner).await?, [1, 2]);
    assert!(expire(&protected, &worker).await?, "both need it");

    protected.server.faults().clear();
    capture(&protected, first).await?;
    assert!(expire(&protected, &worker).await?, "the second needs it");
    capture(&protected, second).await?;
    // But for proofs of the copies, which know where their history comes from.
    let begun = Instant::now();
    while expire(&protected, &worker).await? {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "nobody needs it");
        sleep(LOOK).await;
    }
    for (parent, name) in [(first, "third"), (second, "fourth")] {
        let (_, mut owner) = copy(&protected, (parent, name), Target::End).await?;
        assert_eq!(numbers(&mut owner).await?, [1, 2]);
    }
    Ok(())
}

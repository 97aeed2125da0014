//! Segments that cannot be put together.

use http::Method;
use shared::archive::chain::segment_start;
use shared::db::archive::Epoch;
use shared::domain::ArchiveAlert;
use tests::object_server::{Fault, On};
use tests::world::{PATIENCE, write};
use tokio::time::{Duration, Instant, sleep};

use super::world::{Protected, slot_restart};

/// Waits until the newest epoch is as wished, as if the pause after `times` failures were over. A push
/// that was under way stores the pause that it had loaded: so it is ended again, as long as it is that
/// one.
async fn hurry_until(
    protected: &Protected,
    times: u32,
    wished: impl Fn(&Epoch) -> bool,
) -> anyhow::Result<Epoch> {
    let begun = Instant::now();
    loop {
        sqlx::query(
            "update epochs set compaction_retry_at = now() - interval '1 second'
             where compaction_failures = $1",
        )
        .bind(i32::try_from(times)?)
        .execute(&protected.world.database.pool)
        .await?;
        let epoch = protected.until_epoch("there", |_| true).await?;
        if wished(&epoch) {
            return Ok(epoch);
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "it goes on so: {epoch:#?}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn failures(epoch: &Epoch) -> u32 {
    epoch.retry.map_or(0, |retry| retry.failures)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_cannot_be_put_together_waits_holds_no_disk_and_is_told_of()
-> anyhow::Result<()> {
    let protected = Protected::start().await?;
    let of_segments = On::method(Method::PUT).path_has("/segments/");
    let refusal = Fault::Answer(403, "AccessDenied");
    protected.server.faults().set(refusal, of_segments);
    let uploads = || {
        let seen = protected.server.faults().seen();
        let of_segments = |(method, path): &&(Method, String)| {
            *method == Method::PUT && path.contains("/segments/")
        };
        seen.iter().filter(of_segments).count()
    };
    let mut customer = protected.world.connect(protected.id).await?;
    for _ in 0..4 {
        write(&mut customer, 8).await?;
        protected.until_archived(&mut customer).await?;
    }
    let failed = protected
        .until_epoch("refused once", |epoch| failures(epoch) == 1)
        .await?;

    // Not again at each turn, although the watermark moves on.
    let before = uploads();
    for _ in 0..3 {
        write(&mut customer, 1).await?;
        protected.until_archived(&mut customer).await?;
        protected.turned(1).await?;
    }
    assert_eq!(uploads(), before);

    // The chunks are durable, so the leader does not keep them.
    let epoch = protected.until_archived(&mut customer).await?;
    assert_eq!(epoch.compacted, failed.compacted);
    let durable = segment_start(epoch.watermark, epoch.record.segment_bytes);
    assert!(durable > epoch.compacted, "{epoch:#?}");
    let begun = Instant::now();
    while slot_restart(&mut customer).await? < Some(durable) {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "the slot is held: {epoch:#?}");
        sleep(Duration::from_millis(50)).await;
    }

    // Any worker knows how often it failed.
    for times in 2..=3 {
        hurry_until(&protected, times - 1, |epoch| failures(epoch) == times).await?;
    }
    protected
        .until_alert(ArchiveAlert::Compaction, true)
        .await?;

    protected.server.faults().clear();
    // A segment that one push brought whole may have been stepped over before: what counts is that
    // nothing is held against those that were refused.
    let epoch = hurry_until(&protected, 3, |epoch| {
        epoch.compacted > failed.compacted && failures(epoch) == 0
    })
    .await?;
    protected
        .until_alert(ArchiveAlert::Compaction, false)
        .await?;
    protected.assert_whole(&epoch).await
}

//! Other WAL in the archive, on stores that keep writers apart and on those that do not.

use shared::archive::frame::{self, Content, Label};
use shared::archive::store::ObjectStore as _;
use shared::domain::ArchiveAlert;
use shared::ids::ParticipantId;
use shared::units::Lsn;
use sqlx::PgConnection;
use tests::object_server::{Fault, On};
use tests::world::write;

use super::world::Protected;

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_other_wal_stops_the_watermark_and_tells_somebody() -> anyhow::Result<()> {
    let mut protected = Protected::start().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    protected.until_archived(&mut customer).await?;
    protected.world.kill_worker(0).await?;
    other_wal_is_a_conflict(&mut protected, &mut customer).await
}

/// Nothing is pushed before it is known how writers are kept apart; and where the store does not do
/// it, whoever writes looks first.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_at_first_and_ignores_conditions_loses_no_object() -> anyhow::Result<()>
{
    let mut protected = Protected::without_worker().await?;
    protected.server.stop().await?;
    let worker = protected.start_worker().await?;
    protected.make().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    protected.turned(2).await?;
    let pushes = protected.metric("ringmaster_wal_pushes_total", &[]).await?;
    assert!(pushes.abs() < f64::EPSILON, "{pushes} pushes");

    protected
        .server
        .faults()
        .set(Fault::IgnoreConditions, On::all());
    protected.server.start_again().await?;
    protected
        .until_alert(ArchiveAlert::Unconditional, true)
        .await?;
    let epoch = protected.until_archived(&mut customer).await?;
    protected.assert_whole(&epoch).await?;
    protected.world.kill_worker(worker).await?;
    other_wal_is_a_conflict(&mut protected, &mut customer).await?;

    // A store that learns it is found out by the next worker.
    protected.server.faults().clear();
    protected.start_worker().await?;
    let keeps = ("ringmaster_archive_conditional_writes", &[][..]);
    protected.until_metric(keeps, |keeps| keeps > 0.0).await?;
    protected
        .until_alert(ArchiveAlert::Unconditional, false)
        .await
}

/// Somebody else has written under the same prefix: another control plane with the same bucket, say.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_of_another_leader_is_told_and_nothing_is_pushed_into_it() -> anyhow::Result<()> {
    let mut protected = Protected::not_archived().await?;
    let record = protected.epoch_from_zero(ParticipantId::new()).await?;
    let (key, store) = (record.prefix().epoch(1), protected.server.store());
    store.put(&key, record.to_json().into()).await?;
    protected.start_worker().await?;
    protected.until_alert(ArchiveAlert::Conflict, true).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    write(&mut customer, 1).await?;
    protected.turned(2).await?;
    assert!(protected.epoch().await?.is_none());
    let names = store.list("timelines/", None, 10).await?;
    assert_eq!(names.len(), 1, "{names:?}");

    // Once somebody has put it aside, nothing is missing.
    store.delete(&[key]).await?;
    let epoch = protected.until_archived(&mut customer).await?;
    protected.assert_whole(&epoch).await?;
    protected.until_alert(ArchiveAlert::Conflict, false).await
}

/// No worker works when this begins.
async fn other_wal_is_a_conflict(
    protected: &mut Protected,
    customer: &mut PgConnection,
) -> anyhow::Result<()> {
    let epoch = protected.until_epoch("there", |_| true).await?;
    write(customer, 1).await?;
    let foreign = frame::encode(
        &Label {
            timeline: epoch.record.timeline,
            system_identifier: epoch.record.system_identifier,
            content: Content::Wal {
                epoch: 1,
                tli: epoch.record.tli,
                start: epoch.watermark,
                end: Lsn::from_bytes(epoch.watermark.bytes() + 64),
            },
        },
        &[7; 64],
        1,
    )?;
    let (prefix, run) = (epoch.record.prefix(), epoch.record.run());
    let key = prefix.chunk(run, epoch.watermark);
    let store = protected.server.store();
    store.put(&key, foreign.clone().into()).await?;

    protected.start_worker().await?;
    protected.until_alert(ArchiveAlert::Conflict, true).await?;
    let after = protected.until_epoch("there", |_| true).await?;
    assert_eq!(after.watermark, epoch.watermark);
    assert_eq!(store.get(&key, None).await?.as_deref(), Some(&foreign[..]));

    // What the runbook says.
    store.delete(&[key]).await?;
    let epoch = protected.until_archived(customer).await?;
    protected.assert_whole(&epoch).await?;
    protected.until_alert(ArchiveAlert::Conflict, false).await
}

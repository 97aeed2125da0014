//! Clusters with WAL segments of another size than usual.

use shared::agent_api::restore::Target;
use sqlx::Executor as _;
use tests::agent_server::AgentServer;

use super::driver::{Fork, source};
use crate::agent::archiving::{MIB, World};
use crate::agent::backup::driver::back_up;

/// A cluster with segments of so many MiB is archived over more than one, and restored.
pub(crate) async fn are_restored(megabytes: u64) -> anyhow::Result<()> {
    let (least, most) = (megabytes * 2, megabytes * 4);
    let (least, most) = (format!("{least}MB"), format!("{most}MB"));
    let settings = [
        ("min_wal_size", least.as_str()),
        ("max_wal_size", most.as_str()),
    ];
    let world = World::with_segments(megabytes, &settings).await?;
    let start = world.start_of_slot().await?;
    world.write(MIB).await?;
    let (_, manifest) = back_up(&world).await?;
    world.write(2 * MIB).await?;
    let mut session = world.session().await?;
    session.execute("select pg_switch_wal()").await?;
    world.write(MIB).await?;
    let end = world.push_all(start).await?;
    assert!(end.bytes() - start.bytes() > world.segment_bytes);

    let source = source(&world, &manifest, end, Target::End);
    let fork = Fork::on(&world, &source, AgentServer::start(true).await?, |spec| {
        for (name, value) in settings {
            spec.settings.insert(name.to_owned(), value.to_owned());
        }
    });
    let fork = fork.await?;
    fork.finish(&world).await?;
    assert_eq!(fork.rows().await?, world.rows(), "{megabytes} MiB");
    Ok(())
}

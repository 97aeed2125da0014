//! Recovery with plain PostgreSQL and `cp`, and nothing of ours.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use shared::process::{
    Account, DeathSignal, EmbeddedPostgres, EmbeddedPostgresOptions, Lifetime,
    PostgresInstallations, free_port,
};
use shared::secret::Secret;
use shared::units::Lsn;
use sqlx::PgConnection;
use tests::agent_server::PASSWORD;
use tokio::time::{Instant, sleep};

use super::archiving::{World, segment_name};

/// Waits until all of the WAL is replayed.
pub(super) async fn until_replayed(session: &mut PgConnection) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_mins(2);
    while sqlx::query_scalar("select pg_is_in_recovery()")
        .fetch_one(&mut *session)
        .await?
    {
        ensure!(Instant::now() < deadline, "recovery does not end");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The segments as files, put together from chunks; the last one is filled up with zeros.
pub(super) async fn assemble(world: &World, start: Lsn, archive: &Path) -> anyhow::Result<()> {
    let (mut bytes, _) = world.chain(start).await?;
    let segment_bytes = usize::try_from(world.segment_bytes)?;
    bytes.resize(bytes.len().next_multiple_of(segment_bytes), 0);
    let starts = (start.bytes()..).step_by(segment_bytes);
    for (start, segment) in starts.zip(bytes.chunks(segment_bytes)) {
        let name = segment_name(Lsn::from_bytes(start), world.segment_bytes);
        fs::write(archive.join(name), segment)?;
    }
    Ok(())
}

pub(super) async fn recover(
    data: &Path,
    archive: &Path,
    account: &Account,
) -> anyhow::Result<EmbeddedPostgres> {
    let settings = [
        ("restore_command", format!("cp {}/%f %p", archive.display())),
        ("fsync", "off".to_owned()),
        ("shared_buffers", "16MB".to_owned()),
        ("min_wal_size", "2MB".to_owned()),
    ];
    let options = EmbeddedPostgresOptions {
        data_directory: data.to_owned(),
        log: data.with_extension("log"),
        port: free_port()?,
        password: Some(Secret::new(PASSWORD.replace(' ', "%20"))),
        lifetime: Lifetime::DiesWithUs(DeathSignal::Quit),
        settings: settings
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
    };
    let installations = PostgresInstallations::discover(&[]).await;
    Ok(EmbeddedPostgres::start(installations.newest()?, account, options).await?)
}

//! A server whose disk is small, and an archive that is away while it is written to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use shared::archive::plan::Target;
use shared::domain::ArchiveAlert;
use shared::machine::Alert;
use sqlx::PgConnection;
use tests::world::{PATIENCE, built};
use tokio::time::{Instant, sleep};

use super::backups::until_first_backup;
use super::forks::{add, copy, numbers};
use super::world::{Protected, flushed, open_alerts};

/// Size of the disk of each server in MiB: a quarter of it may be WAL that waits.
const DISK: u64 = 512;

const HALF_KEPT: &str = Alert::ParticipantWalHalfKept.as_str();

/// An agent with a file system of that size for all that it holds: in memory, in a namespace of its
/// own, so that it is gone with it.
fn agent_on_small_disk(protected: &Protected) -> anyhow::Result<PathBuf> {
    let path = protected
        .world
        .servers()
        .with_file_name("agent-on-small-disk");
    let agent = built()?.join("agent_under_test");
    let script = format!(
        r#"#!/bin/sh
previous=
for argument in "$@"; do
    if [ "$previous" = --data-dir ]; then directory=$argument; fi
    previous=$argument
done
mkdir -p "$directory"
exec unshare --mount sh -c 'mount -t tmpfs -o size={DISK}m tmpfs "$0" && exec {} "$@"' "$directory" "$@"
"#,
        agent.display()
    );
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

async fn protected_on_small_disk() -> anyhow::Result<Protected> {
    let mut protected = Protected::without_worker().await?;
    protected.agent_binary = Some(agent_on_small_disk(&protected)?);
    protected.start_worker().await?;
    protected.make().await?;
    Ok(protected)
}

async fn setting(customer: &mut PgConnection, name: &str) -> anyhow::Result<String> {
    let query = sqlx::query_scalar("select current_setting($1)").bind(name);
    Ok(query.fetch_one(customer).await?)
}

/// Writes so many MB of WAL, and nothing else.
async fn churn(customer: &mut PgConnection, megabytes: i32) -> anyhow::Result<()> {
    let query = "select count(pg_logical_emit_message(false, 'churn', repeat('x', 1000000)))
                 from generate_series(1, $1)";
    sqlx::query(query).bind(megabytes).execute(customer).await?;
    Ok(())
}

async fn alert_is_open(protected: &Protected, alert: &str) -> anyhow::Result<bool> {
    let open = open_alerts(&protected.world.database.pool).await?;
    Ok(open.iter().any(|name| name == alert))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_disk_is_never_full_of_wal_and_what_fits_is_drained_without_a_hole()
-> anyhow::Result<()> {
    let mut protected = protected_on_small_disk().await?;
    until_first_backup(&protected).await?;
    let mut customer = protected.world.connect(protected.id).await?;
    assert_eq!(
        setting(&mut customer, "max_slot_wal_keep_size").await?,
        "128MB"
    );
    assert_eq!(setting(&mut customer, "max_wal_size").await?, "64MB");
    add(&mut customer, 1).await?;
    protected.until_archived(&mut customer).await?;

    // Within the limit: told in time, and nothing of it is lost.
    protected.server.stop().await?;
    let begun = (Instant::now(), flushed(&mut customer).await?);
    while !alert_is_open(&protected, HALF_KEPT).await? {
        anyhow::ensure!(begun.0.elapsed() < PATIENCE, "nobody is told");
        let written = flushed(&mut customer).await?.bytes() - begun.1.bytes();
        if written < 80 << 20 {
            churn(&mut customer, 16).await?;
        }
        sleep(Duration::from_millis(200)).await;
    }
    add(&mut customer, 2).await?;
    protected.server.start_again().await?;
    let epoch = protected.until_archived(&mut customer).await?;
    protected.assert_whole(&epoch).await?;
    while alert_is_open(&protected, HALF_KEPT).await? {
        anyhow::ensure!(begun.0.elapsed() < PATIENCE, "it is not taken back");
        sleep(Duration::from_millis(200)).await;
    }
    assert!(!alert_is_open(&protected, ArchiveAlert::Gap.as_str()).await?);

    // More than twice of what there is in all: the database goes on.
    protected.server.stop().await?;
    churn(&mut customer, 1200).await?;
    add(&mut customer, 3).await?;
    protected.server.start_again().await?;
    protected.until_alert(ArchiveAlert::Gap, true).await?;
    protected.until_archived(&mut customer).await?;
    protected.until_alert(ArchiveAlert::Gap, false).await?;
    let events = protected.world.events(protected.id).await?;
    assert!(
        !events.iter().any(|event| event.contains("crash")),
        "{events:?}"
    );
    let (_, mut restored) = copy(&protected, (protected.id, "copy"), Target::End).await?;
    assert_eq!(numbers(&mut restored).await?, [1, 2, 3]);
    Ok(())
}

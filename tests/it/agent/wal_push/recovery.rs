//! What the pushed chunks are for.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use shared::process::{Account, Program, run_to_end};
use shared::units::Lsn;
use sqlx::{Connection as _, PgConnection};

use crate::agent::archiving::{MIB, World};
use crate::agent::recovering::{assemble, recover, until_replayed};

/// Plain PostgreSQL and `cp`, with nothing of ours.
#[tokio::test]
async fn the_chunks_bring_a_copy_exactly_to_the_flushed_position() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(MIB).await?;
    let account = Account::for_postgres()?;
    let directory = tempfile::tempdir()?;
    account.give(directory.path())?;
    let copy = directory.path().join("data");
    copy_of(&world, &copy).await?;
    world.write(3 * MIB).await?;
    let rows = world.rows();
    let flushed = world.push_all(start).await?;
    // Not in the archive, so not in the copy.
    world.write(MIB).await?;

    let archive = directory.path().join("archive");
    fs::create_dir(&archive)?;
    assemble(&world, start, &archive).await?;
    let restored = recover(&copy, &archive, &account).await?;
    let mut session = PgConnection::connect(restored.url("shop").expose()).await?;
    until_replayed(&mut session).await?;
    let found: i64 = sqlx::query_scalar("select count(*) from written")
        .fetch_one(&mut session)
        .await?;
    let log = fs::read_to_string(copy.with_extension("log"))?;
    assert_eq!(u64::try_from(found)?, rows, "{log}");
    let history = fs::read_to_string(copy.join("pg_wal/00000002.history"))?;
    let left: Lsn = history
        .split_whitespace()
        .nth(1)
        .context("the line of the old timeline")?
        .parse()?;
    assert_eq!(left, flushed);
    session.close().await?;
    restored.stop().await?;
    Ok(())
}

/// A base copy of the running server.
async fn copy_of(world: &World, to: &Path) -> anyhow::Result<()> {
    let mut session = world.session().await?;
    sqlx::query("select pg_backup_start('copy', true)")
        .execute(&mut session)
        .await?;
    let copy = Program::new("cp", &Account::for_postgres()?)
        .arg("--archive")
        .arg(world.server.data_directory())
        .arg(to);
    run_to_end(&copy).await?;
    let label: String = sqlx::query_scalar("select labelfile from pg_backup_stop(false)")
        .fetch_one(&mut session)
        .await?;
    fs::write(to.join("backup_label"), label)?;
    fs::write(to.join("recovery.signal"), "")?;
    fs::remove_file(to.join("postmaster.pid"))?;
    fs::remove_dir_all(to.join("pg_wal"))?;
    fs::remove_dir_all(to.join("pg_replslot"))?;
    for directory in ["pg_wal", "pg_wal/archive_status", "pg_replslot"] {
        fs::create_dir(to.join(directory))?;
        Account::for_postgres()?.give(&to.join(directory))?;
    }
    Account::for_postgres()?.give(&to.join("backup_label"))?;
    Ok(Account::for_postgres()?.give(&to.join("recovery.signal"))?)
}

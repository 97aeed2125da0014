//! Restoring with nothing of ours: the commands of `docs/disaster-recovery.md`, as they stand there.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use shared::archive::store::{ObjectStore as _, Put};
use shared::process::{
    Account, HARD_END, PostgresInstallations, Program, end_all_in, free_port, run_to_end,
};
use tests::object_server::BUCKET;

use crate::agent::archiving::{MIB, World};
use crate::agent::backup::driver::back_up;

/// The commands of the document: its blocks of shell, one after the other.
fn commands(document: &str) -> String {
    let blocks = document.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    blocks.collect()
}

#[tokio::test]
async fn the_commands_of_the_document_bring_a_database_back() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world.write(20 * MIB).await?;
    let (_, manifest) = back_up(&world).await?;
    world.write(2 * MIB).await?;
    let rows = world.rows();
    let end = world.push_all(start).await?;
    let sentinel = world.prefix.backup_sentinel(manifest.backup);
    let put = world.receiver.store().put(&sentinel, "{}".into()).await?;
    ensure!(put == Put::Stored);
    // One that is not complete is not chosen, and a segment counts in place of its chunks.
    let begun = world.prefix.backup_manifest(shared::ids::BackupId::new());
    world.receiver.insert(&begun, "nothing").await?;
    let segment = shared::archive::chain::segment_start(end, u32::try_from(world.segment_bytes)?);
    let segment = shared::units::Lsn::from_bytes(segment.bytes() - world.segment_bytes);
    let mut push = world.call(Vec::new());
    push.segments.push(world.segment(segment).await?);
    world.push(&push).await?;

    let account = Account::for_postgres()?;
    let directory = tempfile::tempdir()?;
    account.give(directory.path())?;
    let outcome = by_hand(&world, directory.path(), &account, rows).await;
    for data in ["data", "scratch"] {
        end_all_in(&directory.path().join(data), HARD_END).await?;
    }
    let log = fs::read_to_string(directory.path().join("recovery.log")).unwrap_or_default();
    outcome.with_context(|| format!("PostgreSQL says: {log}"))?;
    assert!(log.contains("archive recovery complete"), "{log}");
    Ok(())
}

async fn by_hand(
    world: &World,
    directory: &Path,
    account: &Account,
    rows: u64,
) -> anyhow::Result<()> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/disaster-recovery.md");
    let ask = "\"$BIN/psql\" --host \"$PWD\" --port \"$PORT\" --username postgres --no-psqlrc \
        --tuples-only --no-align --dbname shop --command 'select count(*) from written' > rows\n";
    let script = commands(&fs::read_to_string(document)?) + ask;
    ensure!(script.contains("pg_ctl"), "the document has commands");
    let file = directory.join("commands");
    fs::write(&file, script)?;
    account.give(&file)?;
    let settings = world.receiver.server().settings();
    let installations = PostgresInstallations::discover(&[]).await;
    let psql = installations.newest()?.program("psql");
    let endpoint = settings.endpoint.context("a store of our own has a URL")?;
    let prefix = world.prefix.to_string();
    let program = Program::new("sh", account)
        .arg(&file)
        .directory(directory)
        .env("S3", format!("{endpoint}/{BUCKET}"))
        .env("KEY_ID", &settings.access_key_id)
        .env("SECRET", settings.secret_access_key.expose())
        .env("REGION", &settings.region)
        .env("DATABASE", prefix)
        .env("BIN", psql.parent().context("a directory of programs")?)
        .env("PORT", free_port()?.to_string());
    run_to_end(&program).await?;
    let found = fs::read_to_string(directory.join("rows"))?;
    ensure!(found.trim() == rows.to_string(), "{found} rows, not {rows}");
    Ok(())
}

//! Restoring with nothing of ours: the commands of `docs/disaster-recovery.md`, as they stand there.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use shared::archive::chain::segment_start;
use shared::archive::epoch::{EpochRecord, Parent};
use shared::archive::manifest::Manifest;
use shared::archive::plan::Written;
use shared::ids::BackupId;
use shared::process::{
    Account, HARD_END, PostgresInstallations, Program, end_all_in, free_port, run_to_end,
};
use shared::units::Lsn;
use tests::object_server::BUCKET;

use super::promotions::promoted_thrice;
use crate::agent::archiving::{MIB, RUN, World};
use crate::agent::backup::driver::back_up;

/// The commands of the document: its blocks of shell, one after the other.
fn commands(document: &str) -> String {
    let blocks = document.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    blocks.collect()
}

/// What a worker has written beside: the records of epochs, and that the backup is complete.
async fn write_down(world: &World, manifest: &Manifest, epochs: &[Written]) -> anyhow::Result<()> {
    for epoch in epochs {
        let record = EpochRecord {
            timeline: epoch.timeline,
            number: epoch.run.epoch,
            system_identifier: manifest.system_identifier,
            tli: epoch.run.tli,
            segment_bytes: u32::try_from(world.segment_bytes)?,
            start: epoch.start,
            participant: world.spec.participant,
            generation: 1,
            parent: epoch.parent.map(|(timeline, epoch, cut)| Parent {
                timeline,
                epoch,
                cut,
            }),
            created_at: manifest.stopped_at,
        };
        let key = record.prefix().epoch(record.number);
        let json = String::from_utf8(record.to_json())?;
        world.receiver.insert(&key, json).await?;
    }
    let sentinel = world.prefix.backup_sentinel(manifest.backup);
    world.receiver.insert(&sentinel, "{}").await?;
    // One that is not complete is not chosen.
    let begun = world.prefix.backup_manifest(BackupId::new());
    world.receiver.insert(&begun, "nothing").await
}

/// Runs the commands, and checks what `query` answers.
async fn comes_back(world: &World, query: &str, expected: &str) -> anyhow::Result<()> {
    let account = Account::for_postgres()?;
    let directory = tempfile::tempdir()?;
    account.give(directory.path())?;
    let outcome = by_hand(world, directory.path(), &account, query).await;
    for data in ["data", "scratch"] {
        end_all_in(&directory.path().join(data), HARD_END).await?;
    }
    let log = fs::read_to_string(directory.path().join("recovery.log")).unwrap_or_default();
    let found = outcome.with_context(|| format!("PostgreSQL says: {log}"))?;
    assert!(log.contains("archive recovery complete"), "{log}");
    assert_eq!(found, expected);
    Ok(())
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
    let epoch = Written {
        timeline: manifest.timeline,
        run: RUN,
        start,
        watermark: end,
        gaps: Vec::new(),
        parent: None,
    };
    write_down(&world, &manifest, &[epoch]).await?;
    // A segment counts in place of its chunks.
    let segment = segment_start(end, u32::try_from(world.segment_bytes)?);
    let segment = Lsn::from_bytes(segment.bytes() - world.segment_bytes);
    let mut push = world.call(Vec::new());
    push.segments.push(world.segment(segment).await?);
    world.push(&push).await?;
    let query = "select count(*) from written";
    comes_back(&world, query, &rows.to_string()).await
}

#[tokio::test]
async fn they_bring_a_database_back_that_was_promoted_three_times() -> anyhow::Result<()> {
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    let (_, manifest) = back_up(&world).await?;
    let (epochs, _) = promoted_thrice(&world, &manifest, start).await?;
    write_down(&world, &manifest, &epochs).await?;
    let query = "select string_agg(run::text, ' ' order by run) from marks";
    comes_back(&world, query, "-4 1 2 3 4 101 102 103 104").await
}

async fn by_hand(
    world: &World,
    directory: &Path,
    account: &Account,
    query: &str,
) -> anyhow::Result<String> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/disaster-recovery.md");
    let ask = format!(
        "\"$BIN/psql\" --host \"$PWD\" --port \"$PORT\" --username postgres --no-psqlrc \
        --tuples-only --no-align --dbname shop --command \"{query}\" > answer\n"
    );
    let script = commands(&fs::read_to_string(document)?) + &ask;
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
    let found = fs::read_to_string(directory.join("answer"))?;
    Ok(found.trim().to_owned())
}

//! What a backup is for.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use shared::agent_api::backup::BackupPhase;
use shared::archive::frame::{self, Content};
use shared::archive::manifest::Manifest;
use shared::process::{Account, Program, run_to_end};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio_util::sync::CancellationToken;

use super::driver::back_up;
use crate::agent::archiving::{MIB, World};
use crate::agent::recovering::{assemble, recover, until_replayed};

/// Everything that a customer could see.
const CONTENT: &str = "
    select count(*), coalesce(sum(hashtext(accounts::text)), 0),
        (select coalesce(sum(hashtext(history::text)), 0) from history),
        (select count(*) from scratch)
    from accounts";

type Contents = (i64, i64, i64, i64);

#[tokio::test]
async fn a_backup_made_under_load_has_exactly_the_rows_with_the_wal_after_it() -> anyhow::Result<()>
{
    let world = World::start().await?;
    let start = world.start_of_slot().await?;
    world
        .session()
        .await?
        .execute(
            "create table accounts (id int primary key, balance bigint, filler text);
            insert into accounts select id, 0, repeat(md5(id::text), 3)
                from generate_series(1, 20000) as id;
            create table history (at timestamptz default clock_timestamp(), id int, delta int);
            create unlogged table scratch (id int);
            insert into scratch select generate_series(1, 5000)",
        )
        .await?;
    world.write(4 * MIB).await?;

    let enough = CancellationToken::new();
    let backing_up = async {
        let made = back_up(&world).await;
        enough.cancel();
        made
    };
    let loads = [1, 2, 3].map(|seed| load(&world, seed, enough.clone()));
    let (made, loaded) = tokio::join!(backing_up, futures::future::try_join_all(loads));
    let (status, manifest) = made?;
    assert!(loaded?.iter().sum::<u64>() > 20, "there was load");
    let expected: Contents = sqlx::query_as(CONTENT)
        .fetch_one(&mut world.session().await?)
        .await?;
    world.push_all(start).await?;

    let BackupPhase::Finished {
        start_lsn,
        stop_lsn,
        damaged_pages,
        ..
    } = status.phase
    else {
        panic!("{status:#?}");
    };
    assert!(start_lsn < stop_lsn && damaged_pages == 0);
    assert_eq!(
        (manifest.start_lsn, manifest.stop_lsn),
        (start_lsn, stop_lsn)
    );
    assert!(status.bytes_done >= manifest.bytes() && status.bytes_done <= status.bytes_total);

    let account = Account::for_postgres()?;
    let directory = tempfile::tempdir()?;
    account.give(directory.path())?;
    let (data, archive) = (directory.path().join("data"), directory.path().join("wal"));
    unpack(&world, &manifest, &data).await?;
    fs::create_dir(&archive)?;
    assemble(&world, start, &archive).await?;
    let restored = recover(&data, &archive, &account).await?;
    let mut session = PgConnection::connect(restored.url("shop").expose()).await?;
    until_replayed(&mut session).await?;
    let found: Contents = sqlx::query_as(CONTENT).fetch_one(&mut session).await?;
    let (accounts, balances, history, scratch) = expected;
    assert_eq!(found, (accounts, balances, history, 0));
    assert_eq!(scratch, 5000, "not logged, so emptied by recovery");
    session.close().await?;
    restored.stop().await?;
    Ok(())
}

/// Transactions as of a bank, until `enough`. Gives how many. Each session has accounts of its own,
/// so that none waits for another for ever.
async fn load(world: &World, seed: i32, enough: CancellationToken) -> anyhow::Result<u64> {
    let mut session = world.session().await?;
    let mut done = 0;
    while !enough.is_cancelled() {
        sqlx::query(
            "with moved as (
                update accounts set balance = balance + $2
                where id in (select (random() * 6600)::int * 3 + $1 from generate_series(1, 50))
                returning id
            )
            insert into history (id, delta) select id, $2 from moved",
        )
        .bind(seed)
        .bind(seed * 7)
        .execute(&mut session)
        .await?;
        done += 1;
    }
    Ok(done)
}

/// Unpacks a backup: only plain zstd and tar are needed for the files.
async fn unpack(world: &World, manifest: &Manifest, data: &Path) -> anyhow::Result<()> {
    let account = Account::for_postgres()?;
    account.make_private_directory(data)?;
    for directory in &manifest.directories {
        account.make_private_directory(&data.join(directory))?;
    }
    let objects = world.receiver.objects().await?;
    for part in &manifest.parts {
        let mut stream = Vec::new();
        for number in &part.pieces {
            let key = world.prefix.backup_piece(manifest.backup, *number);
            let object = objects.get(&key).context("the piece is there")?;
            let Content::BackupPiece {
                backup,
                number: own,
            } = frame::peek(object)?.content
            else {
                anyhow::bail!("{key} is no piece");
            };
            ensure!((backup, own) == (manifest.backup, *number));
            stream.extend_from_slice(object);
        }
        let tar = zstd::stream::decode_all(stream.as_slice())?;
        ensure!(u64::try_from(tar.len())? == part.bytes);
        let file = data.with_extension("tar");
        fs::write(&file, tar)?;
        let program = Program::new("tar", &Account::current());
        let program = program.args(["--extract", "--file"]).arg(&file);
        run_to_end(&program.arg("--directory").arg(data)).await?;
        for packed in &part.files {
            let length = fs::metadata(data.join(&packed.path))?.len();
            ensure!(length == packed.bytes, "{packed:?} has {length} bytes");
        }
    }
    for (name, content) in [
        ("backup_label", manifest.backup_label.as_str()),
        ("recovery.signal", ""),
    ] {
        fs::write(data.join(name), content)?;
        account.give(&data.join(name))?;
    }
    Ok(())
}

//! A database of a size, of which about two thirds compress very well and a third about by half: as
//! much of what customers have does, and what pgbench makes does not.

use super::postgres::Session;
use super::{MIB, Server};
use crate::progress::Progress;

/// Mebibytes of one step of pgbench's scale, with its indexes.
const SCALE_MIB: u64 = 15;

/// Rows of a mebibyte of text.
const ROWS_PER_MIB: u64 = 950;

/// Fills a database with about `mebibytes`, and writes it to its files.
pub(crate) async fn fill(server: &Server, mebibytes: u64) -> anyhow::Result<Session> {
    let progress = Progress::begin(format!("a database of {mebibytes} MiB"), 0);
    server.until_converged().await?;
    let session = server.postgres().connect().await?;
    let text = mebibytes / 3;
    let scale = ((mebibytes - text) / SCALE_MIB).max(1).to_string();
    server
        .postgres()
        .pgbench(&["-i", "-s", &scale, "-q"])
        .await?;
    let rows = text * ROWS_PER_MIB;
    // Hexadecimal digits carry half of a byte each.
    session
        .run(&format!(
            "create table words (id bigint, body text);
            alter table words alter body set storage plain;
            insert into words select id, (select string_agg(md5(id::text || part::text), '')
                from generate_series(1, 32) as part) from generate_series(1, {rows}) as id"
        ))
        .await?;
    session.run("vacuum").await?;
    session.run("checkpoint").await?;
    progress.end("filled");
    Ok(session)
}

/// Writes at least `mebibytes` of WAL, of rows that compress about by half.
pub(crate) async fn write_wal(session: &Session, mebibytes: u64) -> anyhow::Result<()> {
    let goal = session.flush_lsn().await?.bytes() + mebibytes * MIB;
    session
        .run("create table more (id bigint, body text)")
        .await?;
    while session.flush_lsn().await?.bytes() < goal {
        session
            .run(
                "insert into more select id, (select string_agg(md5(id::text || part::text), '')
                    from generate_series(1, 32) as part) from generate_series(1, 5000) as id",
            )
            .await?;
    }
    Ok(())
}

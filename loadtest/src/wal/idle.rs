//! What an idle database costs the archive, while everything watches it as always.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::archive::layout::all_of;
use shared::archive::store::ObjectStore as _;
use shared::units::Lsn;
use sqlx::Executor as _;
use tokio::time::{Instant, sleep};

use super::Options;
use crate::progress::Progress;
use crate::report::{Bar, Report};
use crate::system::{Customer, System};

/// Name of the database.
const NAME: &str = "idle";

/// Time without a change after which a database is taken for one that nobody uses: what making and
/// backing it up left to be done is done then. Longer than `autovacuum_naptime`, a minute.
const QUIET: Duration = Duration::from_secs(75);

/// Between two looks until then.
const LOOK: Duration = Duration::from_secs(2);

/// Longest time until then.
const PATIENCE: Duration = Duration::from_mins(10);

/// Objects of one page of a list.
const PAGE: u16 = 1000;

/// What there is of a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Footprint {
    objects: u32,
    object_bytes: u64,
    /// Where its WAL ends, as it was last observed; null before that was.
    wal: Option<Lsn>,
}

/// Watches a database that nobody uses.
pub(super) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let system = System::start(&options.common.programs).await?;
    let customer = system.create(NAME, "standard").await?;
    customer.pgbench(&["-i", "-s", "1", "-q"]).await?;
    system.until_backed_up(NAME).await?;
    let progress = Progress::begin("an idle database", 0);
    until_quiet(&system, &customer).await?;
    // The one that PostgreSQL would make some minutes later, for what was written until now.
    let mut operator = system.operator(&customer).await?;
    operator.execute("checkpoint").await?;
    drop(operator);
    let before = until_quiet(&system, &customer).await?;
    progress.end("quiet");
    let progress = Progress::begin(format!("{} s of nothing", options.idle_seconds), 0);
    sleep(Duration::from_secs(options.idle_seconds)).await;
    let after = footprint(&system, &customer).await?;
    progress.end("watched");
    let objects = after.objects.abs_diff(before.objects);
    let none = Bar::AtMost(0.0);
    report.judge("objects that it made", f64::from(objects), "", none);
    let bytes = u32::try_from(after.object_bytes.abs_diff(before.object_bytes))?;
    report.judge("bytes of objects that it made", f64::from(bytes), "", none);
    let written = |footprint: Footprint| footprint.wal.context("it was observed");
    let wal = written(after)?.bytes().abs_diff(written(before)?.bytes());
    let wal = f64::from(u32::try_from(wal)?);
    report.judge("bytes of WAL that it wrote", wal, "", none);
    system.stop().await
}

async fn until_quiet(system: &System, customer: &Customer) -> anyhow::Result<Footprint> {
    let begun = Instant::now();
    let mut last = (footprint(system, customer).await?, Instant::now());
    while last.1.elapsed() < QUIET {
        sleep(LOOK).await;
        let now = footprint(system, customer).await?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        ensure!(begun.elapsed() < PATIENCE, "it does not rest: {now:?}");
    }
    Ok(last.0)
}

/// What there is now. Looks at nothing of the database itself, which would not be idle then.
async fn footprint(system: &System, customer: &Customer) -> anyhow::Result<Footprint> {
    let mut footprint = Footprint::default();
    let (prefix, mut after) = (all_of(customer.timeline), None::<String>);
    loop {
        let store = &system.store.client;
        let page = store.list(&prefix, after.as_deref(), PAGE).await?;
        footprint.objects += u32::try_from(page.len())?;
        footprint.object_bytes += page.iter().map(|object| object.bytes).sum::<u64>();
        after = page.last().map(|last| last.key.clone());
        if page.len() < usize::from(PAGE) {
            break;
        }
    }
    let detail = system.detail(NAME).await?;
    footprint.wal = detail.observation.and_then(|seen| seen.wal_lsn);
    Ok(footprint)
}

//! Copies of what was written, as it was, and whether they have what they must.

use std::collections::HashSet;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use shared::archive::plan::Target;
use shared::db::fleet::ResourceRow;
use shared::domain::ResourceState;
use shared::ids::ResourceId;
use sqlx::PgConnection;
use tokio::time::Instant;

use super::ledger::{Ledger, Mark, Name};
use crate::machines::world::dice::Dice;
use crate::protection::world::Protected;

/// Copies at a time: each waits more than it works, and each is a server with its own PostgreSQL.
const AT_A_TIME: usize = 3;

/// Makes a copy for each of `targets`, checks it, and has it destroyed.
pub(super) async fn check_all(
    protected: &Protected,
    ledger: &Ledger,
    targets: &[Target],
) -> anyhow::Result<()> {
    let copies = targets.iter().enumerate().map(|(number, target)| {
        let name = format!("copy-{number}");
        async move {
            let begun = Instant::now();
            let id = protected.world.fork(protected.id, &name, *target).await?;
            check_copy(protected, ledger, (id, *target)).await?;
            println!("{name}: {target} after {:?}", begun.elapsed());
            anyhow::Ok(())
        }
    });
    stream::iter(copies)
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// Waits for a copy that was asked for, checks it, and has it destroyed.
pub(super) async fn check_copy(
    protected: &Protected,
    ledger: &Ledger,
    (id, target): (ResourceId, Target),
) -> anyhow::Result<()> {
    let world = &protected.world;
    let has_ended = |row: &ResourceRow| {
        let ends = [ResourceState::Available, ResourceState::Deprovisioned];
        ends.contains(&row.state)
    };
    let row = world.until_row(id, "restored", has_ended).await?;
    if row.state != ResourceState::Available {
        let query = "select error from operations where resource_id = $1";
        let error: Option<Option<String>> = sqlx::query_scalar(query)
            .bind(id)
            .fetch_optional(&world.database.pool)
            .await?;
        bail!("no copy of {target}: {error:?}\n{}", world.story(id).await?);
    }
    let mut owner = world.connect(id).await?;
    let found = commits(&mut owner).await?;
    drop(owner);
    match ledger.check(target, &found) {
        Ok(figures) => println!("{target}: {figures:?}"),
        Err(error) => bail!("{error:#}\n{}", world.story(id).await?),
    }
    world.destroy(id).await
}

/// The commits that are in a database, each of which is whole.
pub(super) async fn commits(owner: &mut PgConnection) -> anyhow::Result<HashSet<Name>> {
    let torn = "
        select count(*) from commits where md5(payload) <> digest
        union all
        select count(*)
        from counters
        full join (select session, count(*) as commits from commits group by session) as written
            using (session)
        where counters.commits is distinct from written.commits";
    let torn: Vec<i64> = sqlx::query_scalar(torn).fetch_all(&mut *owner).await?;
    anyhow::ensure!(
        torn == [0, 0],
        "torn rows, and counters that do not fit: {torn:?}"
    );
    let found: Vec<Name> = sqlx::query_as("select session, number from commits")
        .fetch_all(owner)
        .await?;
    Ok(found.into_iter().collect())
}

/// Random moments and, if `positions`, positions too: each just after some commit.
pub(super) fn targets(
    ledger: &Ledger,
    dice: &mut Dice,
    (count, positions): (usize, bool),
) -> anyhow::Result<Vec<Target>> {
    let marks = marks(ledger);
    let target = |number: usize| {
        let mark = one_of(&marks, dice)?;
        Ok(if positions && number % 2 == 1 {
            Target::Lsn { lsn: mark.lsn }
        } else {
            Target::Time { at: mark.at }
        })
    };
    (0..count).map(target).collect()
}

/// A random moment just after a commit from `from` to `to`; none if nothing was committed then.
pub(super) fn targets_between(
    ledger: &Ledger,
    dice: &mut Dice,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> anyhow::Result<Vec<Target>> {
    let mut marks = marks(ledger);
    marks.retain(|mark| from <= mark.at && mark.at <= to);
    if marks.is_empty() {
        return Ok(Vec::new());
    }
    let mark = one_of(&marks, dice)?;
    Ok(vec![Target::Time { at: mark.at }])
}

fn marks(ledger: &Ledger) -> Vec<Mark> {
    let entries = ledger.entries().into_iter();
    entries.filter_map(|(_, entry)| entry.after).collect()
}

fn one_of(marks: &[Mark], dice: &mut Dice) -> anyhow::Result<Mark> {
    let index = dice.below(u64::try_from(marks.len())?);
    let mark = marks.get(usize::try_from(index)?);
    mark.copied().context("nothing was committed")
}

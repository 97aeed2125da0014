//! An archive that is away for long: the database does not notice, and nothing is left out.

use std::time::Duration;

use shared::archive::plan::Target;
use shared::domain::ArchiveAlert;
use tests::object_server::{Fault, On};
use tokio::time::sleep;

use super::alerts::assert_none_of_loss;
use super::length::{Length, seeded};
use super::load::Load;
use super::restorable;
use super::restored::{check_all, targets};
use crate::machines::world::dice::Dice;

/// Sessions that write at a time.
const SESSIONS: usize = 3;

/// Commits that show that writes go on.
const GOES_ON: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_while_the_archive_was_long_away_is_all_archived() -> anyhow::Result<()>
{
    seeded("away", soak).await
}

async fn soak(length: Length, mut dice: Dice) -> anyhow::Result<()> {
    let half = length.lasts(Duration::from_secs(6), Duration::from_mins(10)) / 2;
    let mut protected = restorable().await?;
    let load = Load::start(&protected, SESSIONS, &mut dice).await?;
    load.until_more(GOES_ON).await?;

    // It refuses, and then it hangs: neither may be taken for an answer.
    protected.server.stop().await?;
    let before = protected.until_epoch("there", |_| true).await?;
    sleep(half).await;
    load.until_more(GOES_ON).await?;
    protected.server.faults().set(Fault::Hang, On::all());
    protected.server.start_again().await?;
    sleep(half).await;
    protected.until_alert(ArchiveAlert::Behind, true).await?;
    load.until_more(GOES_ON).await?;
    let during = protected
        .until_epoch("behind", |epoch| epoch.behind.is_some())
        .await?;
    // But for an upload whose answer was already on its way.
    println!(
        "{} to {}, behind {:?}",
        before.watermark, during.watermark, during.behind
    );

    protected.server.faults().clear();
    load.until_more(GOES_ON).await?;
    let ledger = load.end().await?;
    let mut customer = protected.world.connect(protected.id).await?;
    let epoch = protected.until_archived(&mut customer).await?;
    protected.assert_whole(&epoch).await?;
    let mut targets = targets(&ledger, &mut dice, (length.count(1, 8), true))?;
    targets.push(Target::End);
    tokio::try_join!(
        check_all(&protected, &ledger, &targets),
        protected.until_alert(ArchiveAlert::Behind, false),
    )?;
    assert_none_of_loss(&protected).await
}

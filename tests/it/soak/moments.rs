//! Any moment and any position of a busy database can be restored, exactly.

use std::time::Duration;

use tokio::time::sleep;

use super::alerts::assert_none_of_loss;
use super::length::{Length, seeded};
use super::load::Load;
use super::restorable;
use super::restored::{check_all, targets};
use crate::machines::world::dice::Dice;
use crate::protection::forks::capture;

/// Sessions that write at a time.
const SESSIONS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_any_moment_has_exactly_what_was_committed_until_then() -> anyhow::Result<()> {
    seeded("moments", soak).await
}

async fn soak(length: Length, mut dice: Dice) -> anyhow::Result<()> {
    let (backups, copies) = (length.count(1, 6), length.count(3, 50));
    let between = length.lasts(Duration::from_secs(3), Duration::from_mins(3)) / (backups + 1);
    let protected = restorable().await?;
    let load = Load::start(&protected, SESSIONS, &mut dice).await?;
    for _ in 0..backups {
        sleep(between).await;
        capture(&protected, protected.id).await?;
    }
    sleep(between).await;
    let ledger = load.end().await?;
    let targets = targets(&ledger, &mut dice, (copies, true))?;
    check_all(&protected, &ledger, &targets).await?;

    let mut customer = protected.world.connect(protected.id).await?;
    let epoch = protected.until_archived(&mut customer).await?;
    protected.assert_whole(&epoch).await?;
    assert_none_of_loss(&protected).await
}

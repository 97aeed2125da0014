//! Whatever dies, and however the archive fails, nothing that was acknowledged is lost.

mod blows;

use std::time::Duration;

use shared::archive::plan::Target;
use shared::domain::ResourceState;
use tokio::time::{Instant, sleep};

use super::alerts::assert_none_of_loss;
use super::length::{Length, seeded};
use super::load::Load;
use super::restorable;
use super::restored::{check_all, targets};
use crate::machines::world::dice::Dice;
use blows::Blows;

/// Sessions that write at a time.
const SESSIONS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_whatever_dies() -> anyhow::Result<()> {
    seeded("kills", soak).await
}

async fn soak(length: Length, mut dice: Dice) -> anyhow::Result<()> {
    let lasts = length.lasts(Duration::from_secs(8), Duration::from_mins(10));
    let longest_pause = length.count(1_000, 8_000);
    let mut protected = restorable().await?;
    let load = Load::start(&protected, SESSIONS, &mut dice).await?;

    let mut blows = Blows::default();
    let begun = Instant::now();
    while begun.elapsed() < lasts {
        blows.strike(&mut protected, &mut dice).await?;
        sleep(dice.millis(100, longest_pause)).await;
    }
    println!("{blows:?}");
    // Each blow puts right what nobody else does, but for requests that are still to fail.
    protected.server.faults().clear();
    let world = &protected.world;
    world.until(protected.id, ResourceState::Available).await?;
    // All of them get in again.
    load.until_more(20 * SESSIONS).await?;
    let ledger = load.end().await?;

    let mut customer = world.connect(protected.id).await?;
    let epoch = protected.until_archived(&mut customer).await?;
    protected.assert_whole(&epoch).await?;
    assert_none_of_loss(&protected).await?;
    // A crash writes other WAL at a position that a session had noted: only moments are sure.
    let mut targets = targets(&ledger, &mut dice, (length.count(1, 9), false))?;
    targets.push(Target::End);
    check_all(&protected, &ledger, &targets).await?;
    assert_none_of_loss(&protected).await
}

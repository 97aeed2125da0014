//! Workers that die or stall between any two steps of a backup.

use std::sync::Arc;

use shared::domain::{BackupState, JobKind};
use shared::queue::Outcome;
use tokio::time::Instant;

use super::world::{Backups, Cut, Stop};

/// More borders than any backup of a small database has.
const BORDERS_MAX: usize = 60;

/// Makes a backup by a worker that is cut at its border after so many others, and then by another
/// one. Tells whether there was such a border.
async fn back_up_with(backups: &Backups, cut: Cut, after: usize) -> anyhow::Result<bool> {
    let stop = Stop::after(after);
    let begun = Instant::now();
    loop {
        let (worker, timeline) = (&backups.worker, backups.timeline);
        let mut turn = worker.turn(JobKind::BaseBackup, timeline, Some(&stop));
        tokio::select! {
            outcome = &mut turn => if outcome == Outcome::Done {
                return Ok(false);
            },
            () = stop.reached() => {
                if matches!(cut, Cut::Dies) {
                    drop(turn);
                    backups.until_backed_up().await?;
                } else {
                    backups.until_backed_up().await?;
                    let before = backups.states().await?;
                    stop.go_on();
                    turn.await;
                    assert_eq!(backups.states().await?, before, "it came too late");
                }
                return Ok(true);
            }
        }
        backups.turn(JobKind::WalPush).await;
        backups.still_waits("a backup", begun).await?;
    }
}

async fn survives_every(cut: Cut) -> anyhow::Result<()> {
    let backups = Arc::new(Backups::start("standard").await?);
    for after in 0..BORDERS_MAX {
        backups.ask().await?;
        let was_cut = back_up_with(&backups, cut, after).await?;
        let newest = backups.newest().await?;
        backups.assert_whole(&newest).await?;
        let states = backups.states().await?;
        assert_eq!(states.len(), after + 1, "{cut:?} {after}: {states:#?}");
        let finished = |state: &BackupState| *state == BackupState::Finished;
        assert!(
            states.values().all(finished),
            "{cut:?} {after}: {states:#?}"
        );
        if !was_cut {
            assert!(after >= 5, "a backup has more borders than {after}");
            return Ok(());
        }
    }
    anyhow::bail!("it has too many borders")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_between_any_two_steps_and_one_backup_comes_of_it() -> anyhow::Result<()> {
    survives_every(Cut::Dies).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stalled_at_any_step_changes_nothing_when_it_goes_on()
-> anyhow::Result<()> {
    survives_every(Cut::Stalls).await
}

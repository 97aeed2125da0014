//! Whatever retention leaves, what is shown as restorable can be restored: also while it deletes.
//!
//! The rows and objects that are kept are looked at one by one in `backups::retention`, by a clock that
//! jumps. Here servers and workers are real, and so is their time: what is kept is made as short as
//! the moment wants, and marks are set back instead of waiting for hours.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::archive::plan::Target;
use shared::archive::retention::KEEP_MARKED;
use shared::archive::store::ObjectStore as _;
use shared::archive::window::{Window, windows};
use shared::clock::{Clock as _, SystemClock};
use shared::db::archive::restorable_of;
use shared::db::jobs::{self, JobKey};
use shared::domain::JobKind;
use shared::ids::{BackupId, RequestId};
use shared::queue::Member;
use tests::world::PATIENCE;
use tokio::time::{Instant, sleep};

use super::alerts::assert_none_of_loss;
use super::ledger::Ledger;
use super::length::{Length, seeded};
use super::load::Load;
use super::restorable;
use super::restored::{check_copy, targets_between};
use crate::machines::world::dice::Dice;
use crate::protection::forks::capture;
use crate::protection::world::Protected;

/// Time between two looks while waiting.
const LOOK: Duration = Duration::from_millis(50);

/// Sessions that write at a time.
const SESSIONS: usize = 2;

/// Seconds that keep everything there is.
const KEEP_ALL: i32 = 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_as_restorable_can_be_restored_whatever_is_deleted() -> anyhow::Result<()> {
    seeded("retention", soak).await
}

async fn soak(length: Length, mut dice: Dice) -> anyhow::Result<()> {
    let lasts = length.lasts(Duration::ZERO, Duration::from_mins(10));
    let protected = restorable().await?;
    // Plans keep days; nobody waits so long here.
    sqlx::query("alter table plans drop constraint retention_outlasts_two_backups")
        .execute(&protected.world.database.pool)
        .await?;
    let load = Load::start(&protected, SESSIONS, &mut dice).await?;
    let mut round = Round {
        protected: &protected,
        ledger: load.ledger.clone(),
        most_backups: length.count(1, 3),
        made: BTreeSet::new(),
        copies: 0,
    };
    let begun = Instant::now();
    loop {
        round.take(&mut dice).await?;
        if begun.elapsed() >= lasts {
            break;
        }
    }
    round.end().await?;
    load.end().await?;
    assert_none_of_loss(&protected).await
}

struct Round<'a> {
    protected: &'a Protected,
    ledger: Ledger,
    /// A round makes at most so many backups.
    most_backups: u64,
    /// All backups that there ever were.
    made: BTreeSet<BackupId>,
    /// Copies that were asked for.
    copies: u32,
}

impl Round<'_> {
    /// Backups, deletions and copies, as chance wants them.
    async fn take(&mut self, dice: &mut Dice) -> anyhow::Result<()> {
        for _ in 0..=dice.below(self.most_backups) {
            sleep(dice.millis(200, 2_000)).await;
            capture(self.protected, self.protected.id).await?;
            self.note_backups().await?;
        }
        self.keep(i32::try_from(dice.below(12))?).await?;
        for _ in 0..=dice.below(2) {
            self.expire().await?;
            if dice.chance(700) {
                self.age_marks().await?;
            }
        }
        // From here on nothing more is marked, and what is shown stays so until the copies hold it.
        self.keep(KEEP_ALL).await?;
        self.expire().await?;
        self.restore(dice).await
    }

    /// Copies from the beginning, the end and the middle of what is shown, while more is deleted.
    async fn restore(&mut self, dice: &mut Dice) -> anyhow::Result<()> {
        let (window, to_at) = self.window().await?;
        let mut targets = targets_between(&self.ledger, dice, (window.from_at, to_at))?;
        targets.push(if dice.chance(500) {
            Target::Lsn { lsn: window.from }
        } else {
            Target::Time { at: window.from_at }
        });
        targets.push(if dice.chance(500) {
            Target::Lsn { lsn: window.to }
        } else {
            Target::Time { at: to_at }
        });
        println!("{window:?}");
        let mut copies = Vec::new();
        for target in targets {
            self.copies += 1;
            let name = format!("copy-{}", self.copies);
            let parent = self.protected.id;
            let id = self.protected.world.fork(parent, &name, target).await?;
            copies.push((id, target));
        }
        for (id, _) in &copies {
            let is_held = "attached, and so held";
            self.protected
                .world
                .until_row(*id, is_held, |row| row.base.is_some())
                .await?;
        }
        self.keep(1).await?;
        self.age_marks().await?;
        self.expire().await?;
        let checks = copies
            .into_iter()
            .map(|copy| check_copy(self.protected, &self.ledger, copy));
        futures::future::try_join_all(checks).await?;
        Ok(())
    }

    /// Nothing is left but the newest backup from before and what came since, and some is gone.
    async fn end(&mut self) -> anyhow::Result<()> {
        self.note_backups().await?;
        self.keep(1).await?;
        let begun = Instant::now();
        while self.backups().await?.len() > 1 {
            self.age_marks().await?;
            self.expire().await?;
            anyhow::ensure!(begun.elapsed() < PATIENCE, "backups are kept for ever");
            sleep(LOOK).await;
        }
        let left = self.backups().await?;
        let gone: Vec<&BackupId> = self.made.difference(&left).collect();
        println!("{} copies, {} backups gone", self.copies, gone.len());
        anyhow::ensure!(!gone.is_empty(), "of {:?} nothing was deleted", self.made);
        let epoch = self.protected.until_epoch("there", |_| true).await?;
        let store = self.protected.server.store();
        for backup in gone {
            let prefix = epoch.record.prefix().backup(*backup);
            let listed = store.list(&prefix, None, 10).await?;
            anyhow::ensure!(listed.is_empty(), "of {backup} there is {listed:?}");
        }
        Ok(())
    }

    /// What a customer is shown, and its end in time: until the first push after its first backup
    /// nobody knows that.
    async fn window(&self) -> anyhow::Result<(Window, DateTime<Utc>)> {
        let pool = &self.protected.world.database.pool;
        let begun = Instant::now();
        loop {
            let stored = restorable_of(pool, self.protected.id).await?;
            let found = windows(&stored.epochs, &stored.bases);
            anyhow::ensure!(found.len() == 1, "{found:#?} of {stored:#?}");
            if let Some(to_at) = found[0].to_at {
                return Ok((found[0], to_at));
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "no end of {found:#?}");
            sleep(LOOK).await;
        }
    }

    async fn backups(&self) -> anyhow::Result<BTreeSet<BackupId>> {
        let query = "select id from backups where timeline_id = $1";
        let found: Vec<BackupId> = sqlx::query_scalar(query)
            .bind(self.protected.timeline)
            .fetch_all(&self.protected.world.database.pool)
            .await?;
        Ok(found.into_iter().collect())
    }

    async fn note_backups(&mut self) -> anyhow::Result<()> {
        let found = self.backups().await?;
        self.made.extend(found);
        Ok(())
    }

    /// From now on so many seconds are kept.
    async fn keep(&self, seconds: i32) -> anyhow::Result<()> {
        sqlx::query("update plans set retention_s = $1")
            .bind(seconds)
            .execute(&self.protected.world.database.pool)
            .await?;
        Ok(())
    }

    /// What is marked was marked long ago.
    async fn age_marks(&self) -> anyhow::Result<()> {
        sqlx::query(
            "update backups set expiring_at = expiring_at - make_interval(secs => $1)
             where expiring_at > now() - make_interval(secs => $1)",
        )
        .bind(f64::from(i32::try_from(KEEP_MARKED.num_seconds())?))
        .execute(&self.protected.world.database.pool)
        .await?;
        Ok(())
    }

    /// Has deleted what may be, as the sweep asks for it, and waits until that has come to its end.
    async fn expire(&self) -> anyhow::Result<()> {
        let (world, subject_id) = (&self.protected.world, self.protected.timeline.as_uuid());
        let key = JobKey {
            kind: JobKind::Expire,
            subject_id,
        };
        let pool = &world.database.pool;
        jobs::ask(pool, key, RequestId::new(), SystemClock.now()).await?;
        let (ring, member) = Member::of_job(key.kind, subject_id);
        world.queue.wake(ring, member).await?;
        let begun = Instant::now();
        while jobs::get(pool, key).await?.is_some() {
            let late = "what may be deleted is not";
            anyhow::ensure!(begun.elapsed() < PATIENCE, late);
            sleep(LOOK).await;
        }
        Ok(())
    }
}

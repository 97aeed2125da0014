//! When timelines are proven by a restore, and when that is late.

use chrono::TimeDelta;
use shared::clock::Clock as _;
use shared::domain::JobKind;
use shared::queue::Outcome;
use workers::sweeps;

use super::world::Backups;

/// Looks who is to be proven. Gives the proofs of all time and the alerts that are open.
async fn sweep(backups: &Backups) -> anyhow::Result<(i64, i64)> {
    sweeps::proofs(backups.worker.context.clone())
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let query = "select (select count(*) from proofs),
            (select count(*) from alerts where name = 'proof-late' and cleared_at is null)";
    Ok(sqlx::query_as(query).fetch_one(backups.pool()).await?)
}

/// As if the proof under way had succeeded, or failed, now.
async fn end(backups: &Backups, succeeded: bool) -> anyhow::Result<()> {
    let now = backups.worker.clock.now();
    sqlx::query(
        "with restore as (
            insert into restores (
                id, timeline_id, backup_id, source, segment_bytes, moved_at, request_id, created_at
            )
            select proofs.id, timeline_id, proofs.id, '{}', 1, $1, proofs.id, $1
            from proofs
            where state = 'wanted'
            returning id
        )
        update proofs
        set
            state = case when $2 then 'succeeded' else 'failed' end,
            problem = case when not $2 then 'a piece is damaged' end,
            proven_lsn = 1, proven_until = $1, started_at = $1, finished_at = $1,
            restore_id = restore.id,
            participant_id = (select id from participants limit 1)
        from restore
        where state = 'wanted'",
    )
    .bind(now)
    .bind(succeeded)
    .execute(backups.pool())
    .await?;
    sqlx::query("delete from jobs where kind = 'verify'")
        .execute(backups.pool())
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_is_proven_as_often_as_its_plan_says_and_somebody_is_told_if_not()
-> anyhow::Result<()> {
    let backups = Backups::start("standard").await?;
    let clock = &backups.worker.clock;
    clock.advance(TimeDelta::hours(2));
    assert_eq!(sweep(&backups).await?, (0, 0), "it has no backup");
    backups.back_up().await?;
    assert_eq!(sweep(&backups).await?, (1, 0));
    assert_eq!(sweep(&backups).await?, (1, 0), "one is under way");
    // A proof that lost its job gets it back.
    sqlx::query("delete from jobs where kind = 'verify'")
        .execute(backups.pool())
        .await?;
    sweep(&backups).await?;
    let query = "select count(*) from jobs where kind = 'verify'";
    let jobs: i64 = sqlx::query_scalar(query).fetch_one(backups.pool()).await?;
    assert_eq!(jobs, 1);

    end(&backups, true).await?;
    // A job without a proof ends.
    assert_eq!(backups.turn(JobKind::Verify).await, Outcome::Done);
    clock.advance(TimeDelta::days(6));
    assert_eq!(sweep(&backups).await?, (1, 0), "it was proven this week");
    clock.advance(TimeDelta::days(1));
    assert_eq!(sweep(&backups).await?, (2, 0));
    end(&backups, false).await?;
    assert_eq!(sweep(&backups).await?, (2, 0), "one has just failed");
    clock.advance(TimeDelta::minutes(10));
    assert_eq!(sweep(&backups).await?, (3, 0));
    clock.advance(TimeDelta::days(1));
    assert_eq!(sweep(&backups).await?, (3, 1), "it is late");
    let query = "select detail from alerts where name = 'proof-late'";
    let detail: String = sqlx::query_scalar(query).fetch_one(backups.pool()).await?;
    assert!(detail.contains("one was tried, and failed"), "{detail}");
    Ok(())
}

//! Finds what a resource that begins as a copy is restored from: a backup of the original, and the
//! way from there to the target.
//!
//! A copy has everything that was committed before it was asked for. So it is first noted how far
//! the original had flushed its WAL, and planned once the archive has that.

use chrono::{DateTime, TimeDelta, Utc};
use shared::agent_api::SAMPLE_AGE_MAX;
use shared::agent_api::restore::{NewName, Rename};
use shared::archive::plan::{Plan, Target, Unplannable};
use shared::db::DbError;
use shared::db::archive::{Lineage, NewRestore, hold_restore, lineage};
use shared::db::fleet::{
    ForkRow, NewPlacement, Recorded, ResourceRow, begin_transfer, load_fork, note_end_of_fork,
    note_silence_of_original, note_source_of_fork, refuse_fork,
};
use shared::domain::JobKind;
use shared::ids::RestoreId;
use shared::queue::Member;
use shared::secret::Secret;
use shared::units::Lsn;

use super::Performed;
use super::place::new_instance;
use super::plan_restore::{
    archived, ask_for_backup, plan_what_is_archived, plan_with_what_is_there,
};
use crate::context::{Agents, Asked, Context};
use crate::ring::TurnError;

/// Time for which an original that does not answer is waited for, before the copy is made of what
/// the archive has of it.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);

/// Comes one step nearer to the source of the copy that `row` begins as.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    let Some(fork) = load_fork(&context.pool, row.id).await? else {
        return Ok(Performed::Overtaken);
    };
    if fork.follows {
        return plan_follower(context, &fork).await;
    }
    let Some(end) = fork.end else {
        return note_end(context, &fork).await;
    };
    let Some(mut lineage) = lineage(&context.pool, fork.timeline).await? else {
        return Ok(Performed::Done);
    };
    if lineage.watermark < end.0 {
        if fork.leader.is_none() {
            // What was not archived is gone with it.
            return store_end(context, &fork, archived(&lineage)).await;
        }
        wake_push(context, &fork).await;
        return Ok(Performed::Done);
    }
    match plan_with_what_is_there(context, &mut lineage, (fork.target, end.1)).await? {
        Ok(plan) => store(context, &fork, &lineage, plan).await,
        // Its first backup, or the one after a gap, is on its way.
        Err(Unplannable::OutsideOfWindows { .. })
            if fork.target == Target::End && fork.leader.is_some() =>
        {
            ask_for_backup(context, fork.timeline, fork.request_id).await?;
            Ok(Performed::Done)
        }
        Err(refused) => refuse(context, &fork, &refused).await,
    }
}

async fn plan_follower(context: &Context, fork: &ForkRow) -> Result<Performed, TurnError> {
    // It gets the rest as it comes.
    match plan_what_is_archived(context, fork.timeline).await? {
        None => Ok(Performed::Done),
        Some((lineage, Ok(plan))) => store(context, fork, &lineage, plan).await,
        Some((_, Err(Unplannable::OutsideOfWindows { .. }))) => {
            ask_for_backup(context, fork.timeline, fork.request_id).await?;
            Ok(Performed::Done)
        }
        Some((_, Err(refused))) => refuse(context, fork, &refused).await,
    }
}

/// Notes how far the original has flushed now. What the archive has must do if it is gone, or was not
/// heard for long.
async fn note_end(context: &Context, fork: &ForkRow) -> Result<Performed, TurnError> {
    let now = context.now();
    if fork.leader.is_some() {
        // What an agent says may be a moment old, and a customer has seen commits since.
        tokio::time::sleep(SAMPLE_AGE_MAX).await;
        match ask(context, fork).await {
            Some(Some(lsn)) => return store_end(context, fork, (lsn, now)).await,
            // PostgreSQL starts, and all that was committed is on its disk.
            Some(None) => return Ok(Performed::Done),
            None => {}
        }
    }
    let Some(silent_since) = fork.silent_since else {
        let noted = note_silence_of_original(&context.pool, fork.resource, now).await?;
        return Ok(noted.into());
    };
    if fork.leader.is_some() && now - silent_since < PATIENCE {
        return Ok(Performed::Done);
    }
    match lineage(&context.pool, fork.timeline).await? {
        Some(lineage) => store_end(context, fork, archived(&lineage)).await,
        None => Ok(Performed::Done),
    }
}

async fn store_end(
    context: &Context,
    fork: &ForkRow,
    end: (Lsn, DateTime<Utc>),
) -> Result<Performed, TurnError> {
    let before = fork.end.map(|(lsn, _)| lsn);
    let noted = note_end_of_fork(&context.pool, fork.resource, before, end).await?;
    tracing::info!(
        resource.id = %fork.resource, timeline.id = %fork.timeline, end = %end.0,
        complete_until = %end.1, request_id = %fork.request_id,
        "a copy is made of what is before this",
    );
    wake_push(context, fork).await;
    Ok(noted.into())
}

/// How far the original has flushed: null if it does not answer, and if its PostgreSQL does not.
async fn ask(context: &Context, fork: &ForkRow) -> Option<Option<Lsn>> {
    let (server, address) = fork.leader.as_ref()?;
    let agent = Agents::address(*server, address.as_ref()?)?;
    match context.agents.ask(agent, fork.request_id).await {
        Asked::Answered(status) => Some(
            status
                .postgres
                .as_ref()
                .and_then(|postgres| postgres.flush_lsn),
        ),
        Asked::Refused | Asked::Silent => None,
    }
}

async fn wake_push(context: &Context, fork: &ForkRow) {
    context
        .wake(Member::of_job(JobKind::WalPush, fork.timeline.as_uuid()))
        .await;
}

async fn refuse(
    context: &Context,
    fork: &ForkRow,
    refused: &Unplannable,
) -> Result<Performed, TurnError> {
    tracing::warn!(
        resource.id = %fork.resource, timeline.id = %fork.timeline, error = %refused,
        request_id = %fork.request_id, "a copy cannot be made",
    );
    let noted = refuse_fork(&context.pool, fork.resource, &refused.to_string()).await?;
    Ok(noted.into())
}

/// Stores the plan together with the hold on everything it needs. One that was overtaken is made
/// again.
async fn store(
    context: &Context,
    fork: &ForkRow,
    lineage: &Lineage,
    plan: Plan,
) -> Result<Performed, TurnError> {
    let source = lineage.source(plan, fork.postgres_major, renames(fork));
    let new = NewRestore {
        id: RestoreId::new(),
        source: &source,
        segment_bytes: lineage.segment_bytes,
        request_id: fork.request_id,
        now: context.now(),
    };
    let failed = DbError::during("plan a restore");
    let mut transaction = context.pool.begin().await.map_err(failed)?;
    let donor = fork.donor_plan.as_ref();
    let donor = donor.map(|plan| (plan, donor_of(context, fork)));
    let noted = match &donor {
        Some((plan, place)) => {
            begin_transfer(&mut transaction, (fork.resource, plan), &new, place).await?
        }
        None if hold_restore(&mut transaction, &new).await?.is_overtaken() => Recorded::Overtaken,
        None => note_source_of_fork(&mut *transaction, fork.resource, new.id).await?,
    };
    if noted.is_overtaken() {
        return Ok(Performed::Overtaken);
    }
    transaction.commit().await.map_err(failed)?;
    if let Some((_, place)) = donor {
        context.wake(Member::of_server(place.server)).await;
    }
    tracing::info!(
        resource.id = %fork.resource, timeline.id = %fork.timeline, restore.id = %new.id,
        backup.id = %source.backup, target = %source.target, request_id = %fork.request_id,
        "a restore is planned",
    );
    Ok(Performed::Done)
}

/// The hidden instance that one database is taken out of.
fn donor_of(context: &Context, fork: &ForkRow) -> NewPlacement {
    let password = Secret::random();
    let verifier = Secret::new(password.scram_verifier());
    new_instance(context, fork.request_id, (&password, &verifier))
}

/// A follower has the names of its original, and keeps them when it goes on by itself: its URL has
/// them.
fn renames(fork: &ForkRow) -> Vec<Rename> {
    if fork.follows {
        return Vec::new();
    }
    vec![Rename {
        database: renamed(&fork.original.database, &fork.copy.database),
        role: renamed(&fork.original.role, &fork.copy.role),
    }]
}

fn renamed(from: &str, to: &str) -> NewName {
    NewName {
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

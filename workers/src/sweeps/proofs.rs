//! Looks which timelines are to be proven by a restore, and whose last proof is too old.

use metrics::gauge;
use shared::db::alerts::{self, NewAlert};
use shared::db::archive::{
    NewProof, Provable, ask_for_lost_proofs, ask_for_proof, proofs_under_way, provable,
};
use shared::domain::{ArchiveAlert, JobKind, ProofReason};
use shared::ids::{ProofId, RequestId};
use shared::queue::Member;
use shared::telemetry::metrics::archive;

use crate::context::Context;
use crate::ring::TurnError;

/// Asks for the proofs that are due, those of the oldest first and no more than are made at once, and
/// tells people about those that are too old.
pub async fn sweep(context: Context) -> Result<(), TurnError> {
    if context.archive.is_none() {
        return Ok(());
    }
    let (pool, now) = (&context.pool, context.now());
    for timeline in ask_for_lost_proofs(pool, now).await? {
        context
            .wake(Member::of_job(JobKind::Verify, timeline))
            .await;
    }
    let found = provable(pool, now).await?;
    sample(&found);
    let mut under_way = proofs_under_way(pool).await?;
    for timeline in &found {
        if timeline.facts.is_late() {
            tell(&context, timeline).await?;
        }
        let is_due = timeline.facts.is_due() && !timeline.is_under_way;
        if is_due && under_way < context.proofs_at_once {
            ask(&context, timeline).await?;
            under_way += 1;
        }
    }
    Ok(())
}

fn sample(found: &[Provable]) {
    let ages = found.iter().map(|timeline| timeline.facts.age());
    let oldest = ages.max().unwrap_or_default();
    gauge!(archive::PROOFS_OLDEST_SECONDS).set(oldest.as_secs_f64());
    let late = found.iter().filter(|timeline| timeline.facts.is_late());
    let late = u32::try_from(late.count()).unwrap_or(u32::MAX);
    gauge!(archive::PROOFS_LATE).set(f64::from(late));
}

async fn ask(context: &Context, timeline: &Provable) -> Result<(), TurnError> {
    let new = NewProof {
        id: ProofId::new(),
        timeline: timeline.timeline,
        reason: ProofReason::Schedule,
        request_id: RequestId::new(),
        now: context.now(),
    };
    if ask_for_proof(&context.pool, &new).await? {
        tracing::info!(
            timeline.id = %new.timeline, proof.id = %new.id, request_id = %new.request_id,
            "a proof is due",
        );
        let job = Member::of_job(JobKind::Verify, new.timeline.as_uuid());
        context.wake(job).await;
    }
    Ok(())
}

/// Raises the alert of a timeline that was not proven for longer than its plan allows. The next proof
/// that succeeds clears it.
async fn tell(context: &Context, timeline: &Provable) -> Result<(), TurnError> {
    let facts = &timeline.facts;
    let since = facts.proven_at.unwrap_or(facts.since);
    let what = if facts.proven_at.is_some() {
        "the last restore of it that succeeded was at"
    } else {
        "no restore of it has succeeded since it is protected, from"
    };
    let since = since.format("%Y-%m-%d %H:%M:%S UTC");
    let failures = match facts.failures {
        0 => "none was tried".to_owned(),
        1 => "one was tried, and failed".to_owned(),
        failures => format!("{failures} were tried, and failed"),
    };
    let detail = format!("{what} {since}; {failures} since");
    let new = NewAlert {
        name: ArchiveAlert::ProofLate.as_str(),
        subject_kind: "timeline",
        subject_id: timeline.timeline.as_uuid(),
        resource_id: timeline.resource,
        detail: &detail,
        now: context.now(),
    };
    if alerts::raise(&context.pool, &new).await? {
        tracing::error!(timeline.id = %timeline.timeline, error = detail, "a proof is late");
    }
    Ok(())
}

//! The end of a proof: one transaction with the end of its instance, the answers and the alerts.

use shared::agent_api::check::CheckReport;
use shared::db::DbError;
use shared::db::alerts::{self, NewAlert};
use shared::db::archive::{Ended, ProofRow, RunningProof, end_proof};
use shared::domain::ArchiveAlert;
use shared::queue::Member;
use shared::units::Lsn;
use sqlx::PgConnection;

use super::{Came, Proving, told};
use crate::context::Context;
use crate::ring::{Turn, TurnError};
use crate::turns::since;

/// What a proof came to.
#[derive(Debug, Clone, Copy)]
enum Verdict<'a> {
    /// Everything up to here was restored, and is sound.
    Proven(Lsn),
    /// It cannot be restored, or is not sound.
    Failed(&'a str),
    /// Nobody needs it any more.
    Moot(&'a str),
}

/// What is proven is gone: nobody needs a proof of it, or has to be told.
pub(super) async fn without_original(
    context: &Context,
    turn: &Turn,
    of: (&ProofRow, &RunningProof),
) -> Result<Came, TurnError> {
    let verdict = Verdict::Moot("what it was to prove is gone");
    end(context, turn, of, verdict).await
}

impl Proving<'_> {
    pub(super) async fn succeed(&self, report: &CheckReport) -> Result<Came, TurnError> {
        tracing::info!(
            timeline.id = %self.row.timeline, proof.id = %self.proof.id,
            databases = report.databases, relations = report.relations,
            request_id = %self.proof.request_id, "what was restored is sound",
        );
        self.end(Verdict::Proven(report.began_at)).await
    }

    pub(super) async fn fail(&self, problem: &str) -> Result<Came, TurnError> {
        self.end(Verdict::Failed(problem)).await
    }

    async fn end(&self, verdict: Verdict<'_>) -> Result<Came, TurnError> {
        end(self.context, self.turn, (self.row, self.proof), verdict).await
    }
}

async fn end(
    context: &Context,
    turn: &Turn,
    (row, proof): (&ProofRow, &RunningProof),
    verdict: Verdict<'_>,
) -> Result<Came, TurnError> {
    if !turn.still_mine() {
        return Ok(Came::Overtaken);
    }
    let now = context.now();
    let ended = Ended {
        proof: proof.id,
        timeline: row.timeline,
        result: match verdict {
            Verdict::Proven(lsn) => Ok(lsn),
            Verdict::Failed(problem) | Verdict::Moot(problem) => Err(problem),
        },
        now,
    };
    let failed = DbError::during("end a proof");
    let mut transaction = context.pool.begin().await.map_err(failed)?;
    if end_proof(&mut transaction, &ended).await?.is_overtaken() {
        return Ok(Came::Overtaken);
    }
    settle_alerts(&mut transaction, row, &ended, verdict).await?;
    context.borders.within().await;
    transaction.commit().await.map_err(failed)?;
    let took = since(now, proof.started_at.unwrap_or(now));
    match verdict {
        Verdict::Proven(lsn) => {
            tracing::info!(
                at = "finish", timeline.id = %row.timeline, proof.id = %proof.id, lsn = %lsn,
                request_id = %proof.request_id, elapsed_ms = took.as_millis(), "proof",
            );
            told::succeeded(took);
        }
        Verdict::Failed(problem) => {
            tracing::error!(
                at = "finish", timeline.id = %row.timeline, proof.id = %proof.id,
                request_id = %proof.request_id, error = problem, "proof failed",
            );
            told::failed();
        }
        Verdict::Moot(why) => {
            tracing::info!(
                at = "finish", timeline.id = %row.timeline, proof.id = %proof.id,
                request_id = %proof.request_id, why, "proof",
            );
            told::moot();
        }
    }
    if let Some(trial) = &proof.trial {
        context.wake(Member::of_server(trial.server)).await;
    }
    Ok(Came::ToTheEnd)
}

/// The last proof decides what people are told.
async fn settle_alerts(
    conn: &mut PgConnection,
    row: &ProofRow,
    ended: &Ended<'_>,
    verdict: Verdict<'_>,
) -> Result<(), DbError> {
    let id = row.timeline.as_uuid();
    if let Verdict::Failed(problem) = verdict {
        let new = NewAlert {
            name: ArchiveAlert::ProofFailed.as_str(),
            subject_kind: "timeline",
            subject_id: id,
            resource_id: row.original.as_ref().and_then(|original| original.resource),
            detail: problem,
            now: ended.now,
        };
        alerts::raise(conn, &new).await?;
        return Ok(());
    }
    for alert in [ArchiveAlert::ProofFailed, ArchiveAlert::ProofLate] {
        alerts::clear(&mut *conn, alert.as_str(), id, ended.now).await?;
    }
    Ok(())
}

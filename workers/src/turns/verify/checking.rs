//! The check of what was restored.

use shared::agent_api::check::{CheckOrder, CheckPhase, CheckReport, CheckStatus};
use shared::agent_api::client::AgentError;
use shared::db::archive::{CheckProgress, TrialInstance, note_checked};

use super::{CHECK_STALLED_AFTER, Came, GONE, Proving};
use crate::context::Agents;
use crate::ring::TurnError;
use crate::turns::wal_push::is_passing;

impl Proving<'_> {
    /// Has it checked, or looks how far that is: to an agent both are the same.
    pub(super) async fn check(&self, trial: &TrialInstance) -> Result<Came, TurnError> {
        if trial.is_going {
            return self.fail(GONE).await;
        }
        let address = trial.agent.as_ref();
        let Some(agent) = address.and_then(|agent| Agents::address(trial.server, agent)) else {
            return self.later_unless_stalled(trial).await;
        };
        let order = CheckOrder {
            proof: self.proof.id,
            participant: trial.participant,
            generation: trial.generation,
        };
        let client = self.context.agents.client();
        let status = match client.check(agent, &order, self.proof.request_id).await {
            Ok(status) => status,
            Err(error) => return self.unanswered(trial, error).await,
        };
        self.context.borders.within().await;
        self.note(&status).await?;
        match status.phase {
            CheckPhase::Running => self.later_unless_stalled(trial).await,
            CheckPhase::Finished(report) if report.complaints_total == 0 => {
                self.succeed(&report).await
            }
            CheckPhase::Finished(report) => self.fail(&told(&report)).await,
            CheckPhase::Failed { detail } => {
                let problem = format!("it was restored and could not be checked: {detail}");
                self.fail(&problem).await
            }
        }
    }

    async fn note(&self, status: &CheckStatus) -> Result<(), TurnError> {
        let progress = CheckProgress {
            relations_done: status.relations_done,
            relations_total: status.relations_total,
            pages_done: status.pages_done,
        };
        let (pool, now) = (&self.context.pool, self.context.now());
        note_checked(pool, self.proof.id, progress, now).await?;
        Ok(())
    }

    /// An agent that holds another instruction just now, or whose PostgreSQL is just not there, is
    /// asked again soon. What it refuses for good will not be checked; everything else is a failure
    /// of the turn.
    async fn unanswered(
        &self,
        trial: &TrialInstance,
        error: AgentError,
    ) -> Result<Came, TurnError> {
        match error.refusal() {
            Some(refusal) if is_passing(refusal) => self.later_unless_stalled(trial).await,
            Some(refusal) => {
                let why = &refusal.message;
                let problem = format!("it was restored and cannot be checked: {why}");
                self.fail(&problem).await
            }
            None if self.is_stalled(CHECK_STALLED_AFTER) => self.later_unless_stalled(trial).await,
            None => Err(error.into()),
        }
    }

    async fn later_unless_stalled(&self, trial: &TrialInstance) -> Result<Came, TurnError> {
        if !self.is_stalled(CHECK_STALLED_AFTER) {
            return Ok(self.later());
        }
        let problem = self
            .why_stalled(trial, ("its check", CHECK_STALLED_AFTER))
            .await;
        self.fail(&problem).await
    }
}

/// What is wrong, for people.
fn told(report: &CheckReport) -> String {
    let more = report.complaints_total.saturating_sub(3);
    let first: Vec<&str> = report
        .complaints
        .iter()
        .take(3)
        .map(String::as_str)
        .collect();
    let more = match more {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(
        "it was restored, and pg_amcheck found it damaged: {}{more}",
        first.join("; ")
    )
}

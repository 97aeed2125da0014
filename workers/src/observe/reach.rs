//! Gets an answer from a server: over the kept connection, or over a new one, within the deadline.

use std::time::Duration;

use shared::domain::Outage;
use shared::ids::ParticipantId;
use shared::telemetry::chain;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::budget::Budget;
use super::failure::Failure;
use super::kept::{Kept, Slot};
use super::look::{Look, Survey, SurveyWish};
use super::metrics::{self, Purpose};
use super::session::Session;
use super::{FeelConfig, Target};

/// Longest time that taking leave of a server may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// What a look found.
pub(super) struct Found {
    pub(super) look: Look,
    /// Time until the answer, with the time to connect if that was necessary.
    pub(super) took: Duration,
    /// A survey, if one was asked for and succeeded.
    pub(super) survey: Option<Survey>,
}

/// The way to all servers.
pub(super) struct Reach {
    config: FeelConfig,
    kept: Kept,
    connecting: Semaphore,
}

impl Reach {
    /// Without any connection yet.
    pub(super) fn new(config: FeelConfig) -> Self {
        Self {
            config,
            kept: Kept::default(),
            connecting: Semaphore::new(config.feel_connecting_max.into()),
        }
    }

    /// Number of connections that are kept and not in use at this moment.
    pub(super) fn kept_connections(&self) -> usize {
        self.kept.len()
    }

    /// Looks once, over the kept connection, with a survey after it if one is wanted.
    pub(super) async fn look(
        &self,
        target: &Target,
        survey: Option<SurveyWish>,
    ) -> Result<Found, Outage> {
        let asked_at = Instant::now();
        let mut slot = self.kept.slot(target.participant).await;
        // Another look has waited for this server in vain while we waited too: that is our answer.
        if let Some((failed_at, outage)) = slot.failed
            && failed_at >= asked_at
        {
            return Err(outage);
        }
        match self.look_in(&mut slot, target).await {
            Ok((session, look, took)) => {
                slot.failed = None;
                let survey = if let Some(wish) = survey {
                    let size = wish.measures_size(&look);
                    self.survey_over(&mut slot, session, target, size).await
                } else {
                    slot.session = Some(session);
                    None
                };
                Ok(Found { look, took, survey })
            }
            Err(failure) => {
                let outage = failure.outage();
                log(target, "a look failed", &failure);
                if !failure.is_of_database() {
                    slot.failed = Some((Instant::now(), outage));
                }
                Err(outage)
            }
        }
    }

    /// Surveys a database of a shared server over a connection of its own: the kept one is to
    /// another database. A failure is no outage.
    pub(super) async fn survey_apart(&self, target: &Target, size: bool) -> Option<Survey> {
        let surveyed = async {
            let mut budget = self.budget();
            let mut session = self
                .open(target, &target.database, Purpose::Survey, &mut budget)
                .await?;
            let survey = budget.run(session.survey(size)).await;
            if survey.is_ok() {
                close(session).await;
            }
            survey
        };
        note(target, surveyed.await)
    }

    /// Closes the connection to a participant.
    pub(super) async fn forget(&self, participant: ParticipantId) {
        if let Some(session) = self.kept.take(participant) {
            close(session).await;
        }
    }

    /// Closes the connections that nobody used for `idle`.
    pub(super) async fn close_idle(&self, idle: Duration) {
        let closing = self.kept.take_idle(idle).into_iter().map(close);
        futures::future::join_all(closing).await;
    }

    async fn look_in(
        &self,
        slot: &mut Slot,
        target: &Target,
    ) -> Result<(Session, Look, Duration), Failure> {
        let (database, role) = (&target.database, &target.customer_role);
        let mut budget = self.budget();
        if let Some(mut session) = slot.session.take() {
            match budget.run(session.look(database, role)).await {
                Ok(look) => return Ok((session, look, budget.spent())),
                // A connection that was kept may have ended long ago: only a new one tells.
                Err(failure) if failure.is_of_connection() => {
                    log(target, "a kept connection has ended", &failure);
                }
                Err(failure) => {
                    slot.session = failure.leaves_session_usable().then_some(session);
                    return Err(failure);
                }
            }
        }
        let mut session = self
            .open(target, target.kept_database(), Purpose::Keep, &mut budget)
            .await?;
        match budget.run(session.look(database, role)).await {
            Ok(look) => Ok((session, look, budget.spent())),
            Err(failure) => {
                slot.session = failure.leaves_session_usable().then_some(session);
                Err(failure)
            }
        }
    }

    async fn open(
        &self,
        target: &Target,
        database: &str,
        purpose: Purpose,
        budget: &mut Budget,
    ) -> Result<Session, Failure> {
        let permit = budget.pause(self.connecting.acquire()).await;
        let opening = Session::open(target, database, self.config.feel_deadline_ms, purpose);
        let opened = budget.run(opening).await;
        drop(permit);
        opened
    }

    fn budget(&self) -> Budget {
        Budget::starting_now(self.config.deadline())
    }

    /// Surveys the database that the kept connection is to. A failure is no outage.
    async fn survey_over(
        &self,
        slot: &mut Slot,
        mut session: Session,
        target: &Target,
        size: bool,
    ) -> Option<Survey> {
        let surveyed = self.budget().run(session.survey(size)).await;
        let usable = surveyed
            .as_ref()
            .map_or_else(Failure::leaves_session_usable, |_| true);
        if usable {
            slot.session = Some(session);
        }
        note(target, surveyed)
    }
}

/// Keeps what a survey found; a failure is counted and logged.
fn note(target: &Target, surveyed: Result<Survey, Failure>) -> Option<Survey> {
    surveyed
        .inspect_err(|failure| {
            metrics::survey_failed();
            log(target, "a survey failed", failure);
        })
        .ok()
}

fn log(target: &Target, what: &'static str, failure: &Failure) {
    tracing::debug!(
        resource.id = %target.resource,
        participant.id = %target.participant,
        error = %chain(failure),
        "{what}"
    );
}

async fn close(session: Session) {
    drop(timeout(CLOSE_PATIENCE, session.close()).await);
}

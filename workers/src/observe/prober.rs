//! Feels databases: looks, remembers, and says what was observed.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::agent_api::InstanceStatus;
use shared::domain::Observation;
use shared::ids::ParticipantId;
use tokio::time::Instant;

use super::compose::{Parts, observation};
use super::look::SurveyWish;
use super::newest::{Newest, Seen, Tried};
use super::reach::Reach;
use super::{FeelConfig, Target, metrics};

/// Between two rounds of closing what is not used any more.
const TEND_EVERY: Duration = Duration::from_secs(30);

/// Feels databases. Cheap to clone; all clones share connections and memory.
#[derive(Clone)]
pub struct Prober(Arc<Shared>);

struct Shared {
    config: FeelConfig,
    reach: Reach,
    newest: Newest,
}

impl Prober {
    /// A prober that has not felt anything yet.
    pub fn new(config: FeelConfig) -> Self {
        Self(Arc::new(Shared {
            config,
            reach: Reach::new(config),
            newest: Newest::default(),
        }))
    }

    /// What was seen last of each resource.
    pub fn newest(&self) -> &Newest {
        &self.0.newest
    }

    /// Number of connections that are kept and not in use at this moment.
    pub fn kept_connections(&self) -> usize {
        self.0.reach.kept_connections()
    }

    /// Looks at a database. Never fails: that a service does not answer is what was observed.
    ///
    /// `agent` is what the agent of the server answered, if it was asked, and `now` the moment of
    /// the look. Safe to cancel at any moment.
    pub async fn feel(
        &self,
        target: &Target,
        agent: Option<&InstanceStatus>,
        now: DateTime<Utc>,
    ) -> Observation {
        let started = Instant::now();
        let before = self.0.newest.get(target.resource);
        let wish = self
            .survey_due(target, before.as_ref(), now)
            .then(|| SurveyWish {
                sized_at: before.as_ref().and_then(|seen| seen.sized_at),
            });
        let mut survey = None;
        let mut tried = None;
        let with_look = wish.filter(|_| !target.shared);
        let look = match self.0.reach.look(target, with_look).await {
            Ok(found) => {
                if let Some(wish) = wish {
                    survey = if target.shared {
                        let size = wish.measures_size(&found.look);
                        self.0.reach.survey_apart(target, size).await
                    } else {
                        found.survey
                    };
                    let sized = survey.is_some_and(|survey| survey.size_bytes.is_some());
                    tried = Some(Tried {
                        at: now,
                        sized_at: found.look.wal_lsn.filter(|_| sized),
                    });
                }
                Ok((found.look, found.took))
            }
            Err(outage) => Err(outage),
        };
        let observation = observation(Parts {
            target,
            now,
            look,
            survey,
            agent,
            before: before.as_ref(),
        });
        metrics::observed(&observation, started.elapsed());
        self.0
            .newest
            .record(target.resource, observation.clone(), tried);
        observation
    }

    /// Closes the connection to a participant that is going away.
    pub async fn forget(&self, participant: ParticipantId) {
        self.0.reach.forget(participant).await;
    }

    /// Closes connections that are not used any more, again and again; ends only by being dropped.
    pub async fn tend(&self) {
        loop {
            tokio::time::sleep(TEND_EVERY).await;
            self.close_idle(self.0.config.idle_after()).await;
        }
    }

    /// Closes connections that nobody used for `idle`, and forgets resources that nobody felt.
    /// With zero, all that are not in use.
    pub async fn close_idle(&self, idle: Duration) {
        self.0.newest.forget_idle(idle);
        self.0.reach.close_idle(idle).await;
    }

    /// The first survey is due at once. Those of shared servers are spread by the last byte of the
    /// id (which is random), so that neighbours do not all connect in one minute.
    fn survey_due(&self, target: &Target, before: Option<&Seen>, now: DateTime<Utc>) -> bool {
        let every = self.0.config.survey_every(target.shared);
        let last_byte = target.resource.as_uuid().as_bytes()[15];
        let spread = if target.shared {
            every / 4 * i32::from(last_byte) / 256
        } else {
            chrono::Duration::zero()
        };
        before.is_none_or(|seen| seen.survey_due(now, every - spread))
    }
}

//! A turn of a server: its own machine first, then that of the participant on it.

mod facts;
mod look;
mod on_server;
mod participant;
mod record;

use std::time::Duration;

use shared::db::fleet::{AlertSubject, ParticipantRow, Recorded, ServerRow};
use shared::domain::MachineKind;
use shared::ids::ServerId;
use shared::machine::server::{Server, Step};
use shared::machine::{Act, Decision, MAX_HOPS, Machine as _};
use shared::queue::Outcome;
use uuid::Uuid;

use look::Look;
pub(crate) use on_server::OnServer;

use super::{alerts, outcome};
use crate::context::Context;
use crate::ring::{Turn, TurnError};
use crate::steps::{self, Performed};

/// How one hop of a machine ended.
enum Hop {
    /// Something changed: look and decide again.
    Again,
    /// Somebody else was quicker.
    Overtaken,
    /// The machine rests.
    Rests(Rest),
}

impl Hop {
    /// The hop that recorded an event, or tried to.
    fn after(recorded: Recorded) -> Self {
        if recorded.is_overtaken() {
            Self::Overtaken
        } else {
            Self::Again
        }
    }
}

/// When a resting machine wants to be looked at again.
#[derive(Debug, Clone, Copy)]
struct Rest {
    come_back: Duration,
    done: bool,
}

impl Rest {
    /// The sooner of two, done only if both are.
    fn and(self, other: Self) -> Self {
        match (self.done, other.done) {
            (true, false) => other,
            (false, true) => self,
            (_, done) => Self {
                come_back: self.come_back.min(other.come_back),
                done,
            },
        }
    }
}

/// Turns server `id` once.
pub(super) async fn turn(
    context: &Context,
    turn: &Turn,
    id: ServerId,
) -> Result<Outcome, TurnError> {
    for _ in 0..MAX_HOPS {
        let Some(on) = context.servers.load(id).await? else {
            return Ok(Outcome::Done);
        };
        let OnServer {
            server: row,
            participant,
            wishes,
        } = on.as_ref();
        let look = Look::at(context, row, participant.as_ref()).await;
        if !turn.still_mine() {
            return Ok(outcome::overtaken());
        }
        let mut hop = server_hop(context, row, participant.as_ref(), &look).await?;
        if let (Hop::Rests(rest), Some(participant)) = (&hop, &participant) {
            let rest = *rest;
            hop = match participant::hop(context, row, (participant, wishes), &look).await? {
                Hop::Rests(other) => Hop::Rests(rest.and(other)),
                moved => moved,
            };
        }
        match hop {
            Hop::Again => {}
            Hop::Overtaken => return Ok(outcome::overtaken()),
            Hop::Rests(Rest { done: true, .. }) => {
                context.agents.forget(id);
                return Ok(Outcome::Done);
            }
            Hop::Rests(rest) => return Ok(outcome::again(turn, rest.come_back)),
        }
    }
    tracing::warn!(server.id = %id, hops = MAX_HOPS, "a turn was cut off");
    Ok(outcome::overtaken())
}

async fn server_hop(
    context: &Context,
    row: &ServerRow,
    participant: Option<&ParticipantRow>,
    look: &Look,
) -> Result<Hop, TurnError> {
    let decision = Server::decide(&facts::of_server(context, row, participant, look));
    if let Some(event) = decision.event {
        let act = Act::ServerEvent(row.state, event);
        context.borders.begins(act).await;
        let recorded = record::server_event(context, row, event, look).await?;
        context.borders.ends().await;
        return Ok(Hop::after(recorded));
    }
    if let Some(step) = decision.step {
        context.borders.begins(Act::ServerStep(step)).await;
        let performed = perform(context, row, step, look).await?;
        context.borders.ends().await;
        if performed == Performed::Overtaken {
            return Ok(Hop::Overtaken);
        }
        if decision.come_back.is_zero() {
            return Ok(Hop::Again);
        }
    }
    let before = alerts::Before {
        open: row.open_alert.as_deref(),
        deadline_at: row.deadline_at,
    };
    rest(
        context,
        (MachineKind::Server, row.id.as_uuid()),
        before,
        &decision,
    )
    .await
}

async fn perform(
    context: &Context,
    row: &ServerRow,
    step: Step,
    look: &Look,
) -> Result<Performed, TurnError> {
    tracing::debug!(server.id = %row.id, step = %step, request_id = %row.request_id, "performs");
    match step {
        Step::EnsureInstance => steps::ensure_instance(context, row).await,
        Step::RenewCertificate => steps::renew_certificate(context, row).await,
        Step::RecordContact => record::contact(context, row, look).await,
        Step::DestroyInstance => steps::destroy_instance(context, row).await,
    }
}

/// Settles the alert of a machine that rests.
async fn rest<E, T>(
    context: &Context,
    (kind, id): (MachineKind, Uuid),
    before: alerts::Before<'_>,
    decision: &Decision<E, T>,
) -> Result<Hop, TurnError> {
    let subject = AlertSubject {
        kind,
        id,
        resource: None,
    };
    alerts::settle(context, subject, before, decision.alert).await?;
    Ok(Hop::Rests(Rest {
        come_back: decision.come_back,
        done: decision.done,
    }))
}

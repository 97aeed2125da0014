//! A turn of a resource, for the ring or for a job.

mod facts;
mod look;
mod record;

use shared::db::DbError;
use shared::db::fleet::{AlertSubject, ResourceRow, load_resources};
use shared::db::jobs::JobKey;
use shared::domain::MachineKind;
use shared::ids::ResourceId;
use shared::machine::resource::{Driver, Event, Resource, Step};
use shared::machine::{Act, Decision, MAX_HOPS, Machine as _};
use shared::queue::Outcome;
use sqlx::PgConnection;

pub(crate) use facts::since;
pub(crate) use look::Look;

use super::rows::Loaded;
use super::{alerts, outcome};
use crate::context::Context;
use crate::ring::{Turn, TurnError};
use crate::steps::{self, Performed};

impl Loaded for ResourceRow {
    type Id = ResourceId;

    fn id(&self) -> ResourceId {
        self.id
    }

    async fn load(connection: &mut PgConnection, ids: &[ResourceId]) -> Result<Vec<Self>, DbError> {
        load_resources(connection, ids).await
    }
}

/// Turns resource `id` once: decides and acts until its machine rests.
pub(super) async fn turn(
    context: &Context,
    turn: &Turn,
    id: ResourceId,
    driver: Driver,
) -> Result<Outcome, TurnError> {
    let mut look = Look::default();
    for _ in 0..MAX_HOPS {
        let Some(row) = context.rows.load(id).await? else {
            return Ok(Outcome::Done);
        };
        look.at(context, &row, driver).await?;
        let decision = Resource::decide(&facts::of(context, &row, driver, &look));
        if !turn.still_mine() {
            return Ok(outcome::overtaken());
        }
        if let Some(event) = decision.event {
            let act = Act::ResourceEvent(row.state, event);
            context.borders.begins(act).await;
            let recorded = record::event(context, &row, event, &look).await?;
            context.borders.ends().await;
            if recorded.is_overtaken() {
                return Ok(outcome::overtaken());
            }
            look.recorded(event);
            continue;
        }
        if let Some(step) = decision.step {
            tracing::debug!(resource.id = %id, step = %step, request_id = %row.request_id, "performs");
            context.borders.begins(Act::ResourceStep(step)).await;
            let performed = steps::for_resource(context, &row, step, &mut look).await?;
            context.borders.ends().await;
            if performed == Performed::Overtaken {
                return Ok(outcome::overtaken());
            }
        }
        if decision.done || !decision.come_back.is_zero() {
            rest(context, &row, &decision).await?;
            return Ok(outcome::of(turn, &decision));
        }
    }
    tracing::warn!(resource.id = %id, hops = MAX_HOPS, "a turn was cut off");
    Ok(outcome::overtaken())
}

/// What is due when the machine rests: the alert, and the job that must exist.
async fn rest(
    context: &Context,
    row: &ResourceRow,
    decision: &Decision<Event, Step>,
) -> Result<(), TurnError> {
    let subject = AlertSubject {
        kind: MachineKind::Resource,
        id: row.id.as_uuid(),
        resource: Some(row.id.as_uuid()),
    };
    let before = alerts::Before {
        open: row.open_alert.as_deref(),
        deadline_at: row.deadline_at,
    };
    alerts::settle(context, subject, before, decision.alert).await?;
    if let Some(kind) = decision.job.filter(|_| !decision.done) {
        let key = JobKey {
            kind,
            subject_id: row.id.as_uuid(),
        };
        context.ask(key, row.request_id).await?;
    }
    Ok(())
}

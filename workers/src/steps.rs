//! What a worker can do for a machine: one idempotent action per file.
//!
//! A step looks at the row it was given, has its effect, and records by compare-and-set. It may
//! die between any two instructions and be performed again, by any worker.

pub(crate) mod contexts;
mod ensure_instance;
mod find_source;
mod forget;
mod give_reads;
mod instruct;
mod make_secrets;
mod place;
mod plan_restore;
mod point_endpoint;
mod render;
mod renew_certificate;
mod restart_in_place;
mod transfer;
mod wake_server;
mod withdraw;

pub(crate) use ensure_instance::{destroy_instance, ensure_instance};
pub(crate) use give_reads::give_reads;
pub(crate) use instruct::{acknowledge, desired, instruct, wake_waiting};
pub(crate) use place::{new_instance, replace};
pub(crate) use plan_restore::{ask_for_backup, plan_what_is_archived};
pub(crate) use render::Rendered;
pub(crate) use renew_certificate::{certificate_is_due, renew_certificate};

use shared::db::fleet::{Recorded, ResourceRow};
use shared::machine::resource::Step;

use crate::context::Context;
use crate::ring::TurnError;
use crate::turns::Look;

/// How a step ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Performed {
    /// Its effect is there.
    Done,
    /// Somebody else wrote the row first; look again.
    Overtaken,
}

impl From<Recorded> for Performed {
    fn from(recorded: Recorded) -> Self {
        if recorded.is_overtaken() {
            Self::Overtaken
        } else {
            Self::Done
        }
    }
}

/// Performs a step of the resource machine.
pub(crate) async fn for_resource(
    context: &Context,
    row: &ResourceRow,
    step: Step,
    look: &mut Look,
) -> Result<Performed, TurnError> {
    match step {
        Step::MakeSecrets => make_secrets::perform(context, row).await,
        Step::FindSource => find_source::perform(context, row).await,
        Step::Place => place::perform(context, row).await,
        Step::AwaitParticipant | Step::AwaitRemoval | Step::Repair => {
            wake_server::perform(context, row).await
        }
        Step::Transfer => transfer::perform(context, row).await,
        Step::Probe => {
            look.probe(context, row).await?;
            Ok(Performed::Done)
        }
        Step::PointEndpoint => point_endpoint::perform(context, row).await,
        Step::RestartInPlace => restart_in_place::perform(context, row).await,
        Step::Withdraw => withdraw::perform(context, row).await,
        Step::Forget => forget::perform(context, row).await,
    }
}

//! The events and steps of the machines over the fakes: what each changes, in which order.

mod fleet;
mod resource;

use shared::machine::Act;

use super::World;
use super::turn::{Read, Stop, Work};

impl World {
    /// Performs the phase that an act is in; true if it has another one.
    pub(super) fn perform(&mut self, work: &Work) -> Result<bool, Stop> {
        match (work.act, &work.read) {
            (Act::ResourceEvent(_, event), Read::Resource(read)) => {
                self.record_resource(read, event)?;
                Ok(false)
            }
            (Act::ResourceStep(step), Read::Resource(read)) => {
                self.resource_step(read, step, work.phase)
            }
            (Act::ParticipantEvent(_, event), Read::Server(read)) => {
                self.record_participant(read, event)?;
                Ok(false)
            }
            (Act::ParticipantStep(step), Read::Server(read)) => {
                self.participant_step(read, step, work.phase)
            }
            (Act::ServerEvent(_, event), Read::Server(read)) => {
                self.record_server(read, event)?;
                Ok(false)
            }
            (Act::ServerStep(step), Read::Server(read)) => self.server_step(read, step, work.phase),
            (act, _) => unreachable!("{act:?} was decided from another kind of row"),
        }
    }
}

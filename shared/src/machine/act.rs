//! One thing that any of the machines can do.

use super::{participant, resource, server};
use crate::domain::{ParticipantState, ResourceState, ServerState};

/// An event that is recorded in a state, or a step that is performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// Of the machine of a resource.
    ResourceEvent(ResourceState, resource::Event),
    /// Of the machine of a resource.
    ResourceStep(resource::Step),
    /// Of the machine of a participant.
    ParticipantEvent(ParticipantState, participant::Event),
    /// Of the machine of a participant.
    ParticipantStep(participant::Step),
    /// Of the machine of a server.
    ServerEvent(ServerState, server::Event),
    /// Of the machine of a server.
    ServerStep(server::Step),
}

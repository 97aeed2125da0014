//! What binds each stored secret to the row it belongs to (see [`shared::secret::Vault`]).

use shared::ids::{ParticipantId, ResourceId};

pub(crate) fn password(resource: ResourceId) -> String {
    format!("resource/{resource}/password")
}

pub(crate) fn verifier(resource: ResourceId) -> String {
    format!("resource/{resource}/verifier")
}

pub(crate) fn prober_password(participant: ParticipantId) -> String {
    format!("participant/{participant}/prober-password")
}

pub(crate) fn prober_verifier(participant: ParticipantId) -> String {
    format!("participant/{participant}/prober-verifier")
}

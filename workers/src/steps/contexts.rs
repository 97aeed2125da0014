//! What binds each stored secret to the row it belongs to (see [`shared::secret::Vault`]).

use shared::ids::ParticipantId;

pub(crate) use shared::db::resources::{
    password_context as password, verifier_context as verifier,
};

pub(crate) fn prober_password(participant: ParticipantId) -> String {
    format!("participant/{participant}/prober-password")
}

pub(crate) fn prober_verifier(participant: ParticipantId) -> String {
    format!("participant/{participant}/prober-verifier")
}

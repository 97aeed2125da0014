//! Which ring a row of the control database belongs to, and as which member.

use uuid::Uuid;

use super::{Member, MemberKind, Ring};
use crate::domain::JobKind;
use crate::ids::{ResourceId, ServerId};

/// The plan whose resources are in the urgent ring.
const URGENT_PLAN: &str = "premium";

impl Member {
    /// The job `kind` for `subject`. Repairs are urgent.
    pub fn of_job(kind: JobKind, subject: Uuid) -> (Ring, Self) {
        let (ring, kind) = match kind {
            JobKind::Provision => (Ring::Jobs, MemberKind::Provision),
            JobKind::Deprovision => (Ring::Jobs, MemberKind::Deprovision),
            JobKind::Recover => (Ring::Urgent, MemberKind::Recover),
            JobKind::CatchUp => (Ring::Jobs, MemberKind::CatchUp),
            JobKind::WalPush => (Ring::Archive, MemberKind::WalPush),
            JobKind::BaseBackup => (Ring::Archive, MemberKind::BaseBackup),
            JobKind::Expire => (Ring::Archive, MemberKind::Expire),
            JobKind::Verify => (Ring::Archive, MemberKind::Verify),
        };
        (ring, Self::new(kind, subject))
    }

    /// A resource, to be felt and ticked for ever.
    pub fn of_resource(plan: &str, id: ResourceId) -> (Ring, Self) {
        let ring = if plan == URGENT_PLAN {
            Ring::Urgent
        } else {
            Ring::Ring
        };
        (ring, Self::new(MemberKind::Resource, id.as_uuid()))
    }

    /// A server, with the participant on it.
    pub fn of_server(id: ServerId) -> (Ring, Self) {
        (Ring::Ring, Self::new(MemberKind::Server, id.as_uuid()))
    }
}

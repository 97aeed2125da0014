//! The things Ringmaster is about, as plain data: no I/O, no rules beyond what a value may be.

mod moment;
mod name;
mod observation;
mod states;
mod url;
mod wal_room;

pub use moment::{InvalidMoment, parse_moment};
pub use name::{InvalidName, ResourceName};
pub use observation::{ConnectionUse, Observation, Outage, Replay, TableUse};
pub use states::{
    ArchiveAlert, BackupReason, BackupState, GatewayAlert, JobKind, JobState, MachineKind,
    OperationKind, OperationState, ParticipantRole, ParticipantState, ProofReason, ProofState,
    ResourceState, ServerState, TokenScope, Traffic, UnknownWord,
};
pub use url::DatabaseUrl;
pub use wal_room::WalRoom;

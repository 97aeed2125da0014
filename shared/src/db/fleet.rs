//! What the turns of workers load and record: servers, participants and resources together.
//!
//! Every write compares and sets the version of the row it changes and answers a [`Recorded`]:
//! a writer that was overtaken changes nothing. A change of state and its transition are one
//! statement, so that neither is ever seen without the other.

mod alerts;
mod census;
mod follower_health;
mod follower_lags;
mod followers;
mod forks;
mod hidden;
mod participants;
mod placement;
mod replacements;
mod resource_moves;
mod resource_writes;
mod resources;
mod ring;
mod servers;
mod transfers;
mod unfollows;
mod wishes;

pub use alerts::{AlertSubject, settle_alert};
pub use census::{Count, census};
pub use follower_health::{FollowerHealth, LeaderOfFollower, follower_health};
pub use follower_lags::{FollowerLagRow, clear_follower_alerts, follower_lags, note_lags};
pub use followers::{
    FollowerRow, OriginalSecrets, Replacement, load_follower, secrets_of_original,
};
pub use forks::{
    ForkRow, ForkView, Names, load_fork, note_end_of_fork, note_silence_of_original,
    note_source_of_fork, refuse_fork,
};
pub(in crate::db) use hidden::{Hidden, place_hidden};
pub use participants::{
    Instruction, ParticipantRestore, ParticipantRow, acknowledge, move_participant,
    participants_on, record_instruction, request_restart,
};
pub use placement::{NewPlacement, Placed, place};
pub use replacements::{
    being_replaced, let_go_of_replaced, orphans_of, place_replacement, swap_follower,
};
pub use resource_moves::{Along, Finish, move_resource};
pub use resource_writes::{
    Credential, allocate_route, forget, record_route, record_secret, withdraw,
};
pub use resources::{Base, ResourceRow, load_resources};
pub use ring::{resources_alive, servers_alive};
pub use servers::{
    Heard, ServerRow, load_servers, move_server, record_contact, request_server_end,
};
pub use transfers::{
    Donor, TransferRow, begin_transfer, dismiss_donors, fail_transfer, load_transfer,
    note_transfer_progress, note_transferred,
};
pub use unfollows::{note_unfollowed, take_lead};
pub use wishes::{DatabaseWish, WaitingResource, databases_wanted, resources_waiting_on};

use chrono::{DateTime, Utc};

use crate::ids::RequestId;

/// Whether a compare-and-set found the version it expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a writer that was overtaken must stop and load again"]
pub enum Recorded {
    /// Written.
    Yes,
    /// Somebody else wrote first; nothing was changed.
    Overtaken,
}

impl Recorded {
    /// Whether nothing was changed.
    pub fn is_overtaken(self) -> bool {
        self == Self::Overtaken
    }

    pub(in crate::db) fn of(rows: u64) -> Self {
        if rows == 1 {
            Self::Yes
        } else {
            Self::Overtaken
        }
    }
}

/// A step of a state machine, ready to be recorded.
#[derive(Debug, Clone)]
pub struct Move<S> {
    /// Version of the row that the decision was made from.
    pub version: i64,
    /// State it was made in.
    pub from: S,
    /// What was seen.
    pub event: &'static str,
    /// State that follows.
    pub to: S,
    /// The reason in the machine's table.
    pub why: &'static str,
    /// What was special this time.
    pub detail: Option<String>,
    /// Why it is not well now, for people; null when it is.
    pub problem: Option<String>,
    /// Moment after which the new state raises an alert.
    pub deadline_at: Option<DateTime<Utc>>,
    /// Request it belongs to.
    pub request_id: RequestId,
    /// Moment of recording.
    pub at: DateTime<Utc>,
}

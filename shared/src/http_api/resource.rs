//! Resources, and what is known about them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{MachineKind, Observation, ResourceState};
use crate::http_api::Protection;
use crate::ids::{RequestId, ResourceId};
use crate::secret::Secret;
use crate::units::Lsn;

/// Asks for a new resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateResource {
    /// 1 to 40 lower-case letters, digits and hyphens, beginning with a letter and not ending with
    /// a hyphen; unique among living resources.
    pub name: String,
    /// Name of an offered plan.
    pub plan: String,
}

/// Asks for a new resource that begins as a copy of another one: as it is now, or, with one of `to`,
/// `lsn` and `ago_s`, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkResource {
    /// Name of the copy; rules as for every new resource.
    pub name: String,
    /// Name of an offered plan; by default that of the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// With everything that was committed at or before this moment: date, time and time zone, as
    /// `2026-11-22T10:15:00Z` or `2026-11-22 10:15:00+01`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Up to this WAL position, and with the first record that begins at or after it, as `0/3000060`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsn: Option<String>,
    /// As it was so many seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ago_s: Option<u32>,
}

/// Asks for a new resource that replays what another one writes, and can be read meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowResource {
    /// Name of the follower; rules as for every new resource.
    pub name: String,
    /// Name of an offered plan, with at least as many connections; by default that of the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// How far a follower is behind the resource that it follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FollowerLag {
    /// Whether it gets what is written at once; else it reads the archive.
    pub streaming: bool,
    /// Everything before this position is replayed.
    #[schema(value_type = String, example = "0/16B3748")]
    pub replayed_lsn: Lsn,
    /// Moment of the last commit that is replayed, by the clock of the leader; null before the first
    /// since it was started.
    pub last_commit_at: Option<DateTime<Utc>>,
    /// Bytes of WAL that the leader had when it was last looked at, and that are not replayed. Null
    /// while the leader is not seen.
    pub bytes_behind: Option<u64>,
    /// Seconds since the leader was first seen to have what is not replayed yet: 0 while it has nothing
    /// more. Null while the leader is not seen.
    pub seconds_behind: Option<f64>,
    /// Moment of the look that this is from.
    pub observed_at: DateTime<Utc>,
}

impl FollowerLag {
    /// From the newest looks at a follower and at its leader, as of `now`, and since when it is known
    /// to be behind; null if the follower did not answer, or does not follow.
    pub fn of(
        follower: &Observation,
        leader: Option<&Observation>,
        (behind_since, now): (Option<DateTime<Utc>>, DateTime<Utc>),
    ) -> Option<Self> {
        let replay = follower.replay.as_ref()?;
        let replayed_lsn = follower.wal_lsn?;
        let written = leader.and_then(|leader| leader.wal_lsn);
        let bytes_behind =
            written.map(|written| written.bytes().saturating_sub(replayed_lsn.bytes()));
        let known_since = behind_since.or_else(|| leader.map(|leader| leader.observed_at));
        let seconds_behind = match bytes_behind {
            Some(0) => Some(0.0),
            Some(_) => {
                known_since.map(|since| (now - since).to_std().unwrap_or_default().as_secs_f64())
            }
            None => None,
        };
        Some(Self {
            streaming: replay.streaming,
            replayed_lsn,
            last_commit_at: replay.last_commit_at,
            bytes_behind,
            seconds_behind,
            observed_at: follower.observed_at,
        })
    }
}

/// What a resource began as a copy of, and how that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForkDetail {
    /// Id of the original.
    pub parent_id: ResourceId,
    /// Name of the original.
    pub parent_name: String,
    /// Moment as of which a copy was asked for; null for a position, or for the moment of the request.
    pub target_at: Option<DateTime<Utc>>,
    /// WAL position as of which a copy was asked for; null for a moment.
    #[schema(value_type = Option<String>, example = "0/16B3748")]
    pub target_lsn: Option<Lsn>,
    /// Moment of the request.
    pub asked_at: DateTime<Utc>,
    /// It has everything that was committed to the original before this moment, or up to the target:
    /// not before the request, unless the original did not answer. Null before that is known.
    pub complete_until: Option<DateTime<Utc>>,
    /// Where it left the history of the original; null before that is known.
    #[schema(value_type = Option<String>, example = "0/16B3748")]
    pub branch_lsn: Option<Lsn>,
    /// Moment the restore was planned; null while the archive does not have all of it yet.
    pub planned_at: Option<DateTime<Utc>>,
    /// Bytes of files that are in place.
    pub bytes_done: u64,
    /// Bytes of all files; 0 before that is known.
    pub bytes_total: u64,
    /// WAL is replayed about up to here; null before that began.
    #[schema(value_type = Option<String>, example = "0/16B3748")]
    pub replay_lsn: Option<Lsn>,
    /// Bytes of its database that were brought to its server, if it or the original shares one with
    /// others: what is restored is hidden then, and that one database is taken out of it.
    pub transferred_bytes: u64,
    /// Size of that database in bytes; 0 before that is known, and for a copy that is itself restored.
    pub transfer_bytes: u64,
    /// Whether it goes on, or went on, with what the original wrote since.
    pub follows: bool,
    /// Moment it was asked to go on by itself; null while it follows, and for a copy that never did.
    pub unfollow_requested_at: Option<DateTime<Utc>>,
    /// Moment from which on it is a database of its own that is protected as such; null before, and
    /// for a copy that never followed.
    pub unfollowed_at: Option<DateTime<Utc>>,
}

impl ForkDetail {
    /// Whether it replays what the original writes, and cannot be written to.
    pub fn is_following(&self) -> bool {
        self.follows && self.unfollowed_at.is_none()
    }
}

/// What a customer gets: a name, a plan, a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resource {
    /// Id of the resource.
    pub id: ResourceId,
    /// Name, unique among living resources.
    pub name: String,
    /// Plan it is on.
    pub plan: String,
    /// Where it is in its life.
    pub state: ResourceState,
    /// Moment it entered this state.
    pub state_since: DateTime<Utc>,
    /// Moment after which this state raises an alert; null where it may stay.
    pub deadline_at: Option<DateTime<Utc>>,
    /// Moment somebody asked to destroy it; null while it shall live.
    pub destroy_requested_at: Option<DateTime<Utc>>,
    /// Why it is not well; null when it is.
    pub problem: Option<String>,
    /// Where it is reached; null before the first placement and after the end.
    pub endpoint: Option<Endpoint>,
    /// Major version of PostgreSQL; null before the first placement and after the end.
    pub postgres_major: Option<i32>,
    /// Request that made it or last changed its intent.
    pub request_id: RequestId,
    /// Moment it was asked for.
    pub created_at: DateTime<Utc>,
}

/// Where a resource is reached. The URL has this and the secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A resource with what is known about it now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResourceDetail {
    /// The resource.
    #[serde(flatten)]
    pub resource: Resource,
    /// The newest observation; null before the first.
    pub observation: Option<Observation>,
    /// What it began as a copy of; null if it began empty.
    pub fork: Option<ForkDetail>,
    /// How far it is behind what it follows; null if it follows nobody, or did not answer.
    pub lag: Option<FollowerLag>,
    /// Names of the resources that follow it, oldest first.
    pub followers: Vec<String>,
    /// How well it is protected against the loss of its server; null while it is not placed. A
    /// follower has what its original has: see there.
    pub protection: Option<Protection>,
    /// Open alerts, oldest first.
    pub alerts: Vec<Alert>,
}

/// The URL of a resource, with its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResourceUrl {
    /// The URL, for libpq and every driver.
    #[schema(value_type = String)]
    pub url: Secret,
    /// The same through a connection that is lent for a transaction at a time; null where there is none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub pooled_url: Option<Secret>,
}

/// Something a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// Kind of alert; `docs/runbooks/` has a file of this name.
    pub name: String,
    /// What is wrong this time.
    pub detail: String,
    /// Moment it was raised.
    pub raised_at: DateTime<Utc>,
}

/// One step of a state machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transition {
    /// Order of recording.
    pub id: i64,
    /// Which machine: the resource's own, or that of its PostgreSQL or server.
    pub machine: MachineKind,
    /// Id of what changed.
    pub subject_id: Uuid,
    /// State before.
    pub from: String,
    /// What was seen or asked for.
    pub event: String,
    /// State after.
    pub to: String,
    /// The reason.
    pub why: String,
    /// What was special this time; null when nothing was.
    pub detail: Option<String>,
    /// Request it belongs to.
    pub request_id: RequestId,
    /// Moment it was recorded.
    pub at: DateTime<Utc>,
}

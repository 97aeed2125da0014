//! Closed sets of words. Each is stored and sent as the same snake-case text; the control
//! database has a CHECK with the same words, which a test compares.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that is not in the set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not a {set}: expected one of {expected}")]
pub struct UnknownWord {
    set: &'static str,
    word: String,
    expected: String,
}

macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident, $set:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            sqlx::Type,
        )]
        #[sqlx(type_name = "text")]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] #[sqlx(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word of the set, in the order of a life.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is stored and sent.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        // Not derived: that does not see the words, and would name the variants.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    .description(Some([$($doc.trim()),*].join("\n")))
                    .enum_values(Some([$($word),+]))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or_else(|| {
                    UnknownWord {
                        set: $set,
                        word: word.chars().take(64).collect(),
                        expected: Self::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", "),
                    }
                })
            }
        }
    };
}

words!(
    /// What an endpoint does with clients of a resource.
    Traffic, "traffic" {
        /// They get through.
        Open = "open",
        /// Those in a transaction finish it; the others, and new ones, wait. In force once nobody is
        /// connected to the database any more.
        Paused = "paused",
        /// Nobody stays connected; new ones wait.
        Cut = "cut",
    }
);

words!(
    /// The machines whose transitions are recorded.
    MachineKind, "machine" {
        /// What a customer gets.
        Resource = "resource",
        /// A PostgreSQL instance.
        Participant = "participant",
        /// A machine.
        Server = "server",
    }
);

words!(
    /// Where a resource is in its life.
    ResourceState, "resource state" {
        /// Asked for, not yet usable.
        Creating = "creating",
        /// The service answers.
        Available = "available",
        /// The service does not answer; it may be a blip.
        Unavailable = "unavailable",
        /// Its absence lasted; the repair is under way.
        Recovering = "recovering",
        /// On its way out.
        Deprovisioning = "deprovisioning",
        /// Gone; only the record is left.
        Deprovisioned = "deprovisioned",
    }
);

words!(
    /// Where a participant is in its life.
    ParticipantState, "participant state" {
        /// Decided, not yet told to any agent.
        Planned = "planned",
        /// Told to its agent, not yet there.
        Creating = "creating",
        /// PostgreSQL runs.
        Serving = "serving",
        /// PostgreSQL does not run, or its agent does not answer.
        Down = "down",
        /// On its way out.
        Removing = "removing",
        /// No process and no data is left.
        Removed = "removed",
    }
);

words!(
    /// Where a server is in its life.
    ServerState, "server state" {
        /// Decided, not yet asked for at the provider.
        Requested = "requested",
        /// Asked for; its agent has not answered yet.
        Booting = "booting",
        /// Its agent answers.
        Ready = "ready",
        /// Its agent stopped answering.
        Unreachable = "unreachable",
        /// On its way out.
        Terminating = "terminating",
        /// The provider confirmed that it is gone.
        Terminated = "terminated",
    }
);

words!(
    /// What a participant does on its timeline.
    ParticipantRole, "participant role" {
        /// May write.
        Leader = "leader",
        /// Replays.
        Follower = "follower",
        /// Was restored to be checked: it serves nobody, and goes when that is done.
        Proof = "proof",
        /// Was restored to give one database to a copy: it serves nobody, and goes when that is done.
        Donor = "donor",
    }
);

words!(
    /// Work with an end.
    JobKind, "job kind" {
        /// Make a resource usable.
        Provision = "provision",
        /// Remove a resource and everything that is its own.
        Deprovision = "deprovision",
        /// Bring an absent resource back.
        Recover = "recover",
        /// Bring a follower to where it shall be: to its leader, or to a history of its own.
        CatchUp = "catch_up",
        /// Keep the archive up to date with a timeline's WAL, for as long as it has a leader.
        WalPush = "wal_push",
        /// Make one base backup of a timeline.
        BaseBackup = "base_backup",
        /// Delete from the archive what a timeline's plan does not keep any more.
        Expire = "expire",
        /// Prove that a timeline can be restored: restore it on a server of its own, and check it.
        Verify = "verify",
    }
);

words!(
    /// Whether a job is still tried.
    JobState, "job state" {
        /// It is in the queue.
        Pending = "pending",
        /// It failed too often and waits for a person.
        Dead = "dead",
    }
);

words!(
    /// Where a base backup stands.
    BackupState, "backup state" {
        /// Under way.
        Running = "running",
        /// Complete: a restore may begin from it.
        Finished = "finished",
        /// Given up. Nothing can be restored from it.
        Failed = "failed",
        /// Its objects are being deleted. Nothing can be restored from it.
        Expiring = "expiring",
    }
);

words!(
    /// Why a base backup was begun.
    BackupReason, "reason of a backup" {
        /// There was none of its timeline.
        First = "first",
        /// WAL was lost to the archive: what comes after can only be restored from a new one.
        Gap = "gap",
        /// Somebody asked for it.
        Request = "request",
        /// Its plan wants one from time to time.
        Schedule = "schedule",
    }
);

words!(
    /// Where a proof stands that a timeline can be restored.
    ProofState, "proof state" {
        /// Asked for; others are proven first.
        Wanted = "wanted",
        /// It is restored on a server of its own.
        Restoring = "restoring",
        /// What was restored is checked.
        Checking = "checking",
        /// It was restored, and nothing was found wrong with it.
        Succeeded = "succeeded",
        /// It could not be restored, or something is wrong with what was.
        Failed = "failed",
    }
);

words!(
    /// Why a proof is made.
    ProofReason, "reason of a proof" {
        /// Its plan wants one from time to time.
        Schedule = "schedule",
        /// Somebody asked for it.
        Request = "request",
    }
);

words!(
    /// What a person is told about the archive. Each has a runbook of its name in `docs/runbooks/`.
    ArchiveAlert, "alert of the archive" {
        /// The archive has other WAL than the leader at one position. Nothing is overwritten, and
        /// nothing beyond is counted as durable.
        Conflict = "archive-conflict",
        /// WAL waits for the archive longer than its plan allows.
        Behind = "archive-behind",
        /// WAL was removed before it was in the archive: no restore goes across it.
        Gap = "archive-gap",
        /// Segments that went up in parts cannot be put together.
        Compaction = "archive-compaction",
        /// The store of the archive ignores conditions: two writers of one name are only kept apart
        /// by looking first. About the archive as a whole, not about a timeline.
        Unconditional = "archive-unconditional",
        /// A base backup that is due is not finished in the time that its plan allows.
        BackupLate = "backup-late",
        /// No restore of a timeline has succeeded for longer than its plan allows.
        ProofLate = "proof-late",
        /// The last restore of a timeline that was tried, to prove that it can be, failed.
        ProofFailed = "proof-failed",
        /// A follower that was asked to go on by itself is not in the archive long after.
        UnfollowLate = "unfollow-late",
        /// A follower has not replayed for long what its leader has written.
        FollowerBehind = "follower-behind",
    }
);

words!(
    /// What a person is told about a gateway. Each has a runbook of its name in `docs/runbooks/`.
    GatewayAlert, "alert of a gateway" {
        /// A replica that did not leave is not heard: clients that reach it are led where they were
        /// before.
        Silent = "gateway-silent",
        /// A replica does not do what it was told, and says why.
        Impaired = "gateway-impaired",
    }
);

words!(
    /// What a customer asked for.
    OperationKind, "operation kind" {
        /// A new resource.
        Create = "create",
        /// The end of a resource.
        Destroy = "destroy",
        /// A base backup now.
        Capture = "capture",
        /// A follower becomes a database of its own.
        Unfollow = "unfollow",
        /// A restore that proves that it can be restored.
        RestoreCheck = "restore_check",
        /// Another password.
        Rotate = "rotate",
    }
);

words!(
    /// Where a request of a customer stands.
    OperationState, "operation state" {
        /// Under way.
        Pending = "pending",
        /// Reached.
        Succeeded = "succeeded",
        /// Given up.
        Failed = "failed",
    }
);

words!(
    /// What a token allows; each includes the ones before it.
    TokenScope, "token scope" {
        /// See.
        Read = "read",
        /// Create and destroy.
        Write = "write",
        /// Manage tokens, servers and jobs.
        Admin = "admin",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_is_written() {
        for state in ResourceState::ALL {
            assert_eq!(state.to_string().parse(), Ok(*state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn the_schema_lists_the_words_as_they_are_sent() {
        use utoipa::PartialSchema as _;
        let schema = serde_json::to_value(JobKind::schema()).unwrap();
        let words: Vec<_> = JobKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(schema["enum"], serde_json::json!(words));
        assert_eq!(schema["type"], "string");
        let described = schema["description"].as_str();
        assert!(described.is_some_and(|text| !text.is_empty() && text == text.trim()));
    }

    #[test]
    fn an_unknown_word_names_the_known_ones() {
        let error = "owner".parse::<TokenScope>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"owner\" is not a token scope: expected one of read, write, admin"
        );
    }
}

//! What workers and agents say to each other: JSON over HTTPS with mutual TLS.
//!
//! Workers decide, agents converge. The one instruction is the whole desired [`InstanceSpec`] with
//! its generation; the agent makes it durable before it acts, refuses a lower generation and the
//! same generation with another spec, and answers every call with its [`InstanceStatus`]. All calls
//! are idempotent and quick: work goes on in the background and is read from the status.
//!
//! | call | answers |
//! |---|---|
//! | `PUT /v1/instance` with an [`InstanceSpec`] | 200 [`InstanceStatus`]; 409 and 400 [`Refusal`] |
//! | `GET /v1/instance` | 200 [`InstanceStatus`], also before any spec was given |
//! | `PUT /v1/certificate` with a [`NewCertificate`] | 204; 400 [`Refusal`] |
//! | `POST /v1/wal/push` with a [`wal::WalPush`] | 200 [`wal::WalPushed`]; 409 and 400 [`Refusal`] |
//! | `PUT /v1/backup` with a [`backup::BackupOrder`], `GET /v1/backup` | 200 [`backup::BackupStatus`] or null |
//! | `POST /v1/archive/reads` with [`restore::ArchiveReads`] | 200 [`restore::RestoreStatus`] or null; 409 and 400 [`Refusal`] |
//! | `POST /v1/check` with a [`check::CheckOrder`] | 200 [`check::CheckStatus`]; 409 and 400 [`Refusal`] |
//! | `POST /v1/transfer` with a [`transfer::TransferOrder`] | 200 [`transfer::TransferStatus`]; 409 and 400 [`Refusal`] |

pub mod backup;
pub mod check;
pub mod client;
pub mod restore;
pub mod transfer;
pub mod wal;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::check::CheckStatus;
use self::restore::{RestoreSource, RestoreStatus};
use crate::ids::{ParticipantId, RequestId, ServerId};
use crate::units::Lsn;

/// The header that carries the [`RequestId`] a call belongs to.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// The role of ours that `feel` connects as. Superuser, because on PostgreSQL 15 only superusers
/// may use the reserved connections that are left when a customer has filled all others.
pub const PROBER_ROLE: &str = "ringmaster";

/// The role that followers stream as. It has no password: a follower's agent proves with its
/// certificate which server it is. There only as long as [`InstanceSpec::streamers`] names some.
pub const REPLICATION_ROLE: &str = "ringmaster_replication";

/// The physical replication slot that keeps WAL until it is in the archive.
pub const ARCHIVE_SLOT: &str = "ringmaster_archive";

/// What a status says of a running PostgreSQL is at most so old: questions of many askers are answered
/// from one sample.
pub const SAMPLE_AGE_MAX: Duration = Duration::from_millis(500);

/// PostgreSQL's data directory, below the directory of a server that belongs to its agent.
pub const DATA_DIRECTORY: &str = "data";

/// What a server shall run: complete, never a difference to an earlier spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSpec {
    /// Participant this spec is about. A server that already holds another one refuses.
    pub participant: ParticipantId,
    /// Number of this instruction (≥ 1), allocated by compare-and-set in the control database.
    pub generation: u64,
    /// Request this instruction came from, for the logs only: not part of the spec's identity.
    pub request_id: RequestId,
    /// What the instance shall be.
    pub role: InstanceRole,
    /// Counts asked-for restarts (≥ 1): a larger number than the one PostgreSQL was last started
    /// for makes the agent stop it, by force if it must, and start it again.
    pub incarnation: u64,
    /// How the data directory comes to be, if there is none.
    pub birth: Birth,
    /// TCP port PostgreSQL listens on.
    pub port: u16,
    /// Addresses PostgreSQL listens on, as in `listen_addresses`.
    pub listen_addresses: Vec<String>,
    /// Lines of `postgresql.conf`: name to value, unquoted. The agent adds only what locates files
    /// (sockets, TLS, HBA) and may not be overridden in those.
    pub settings: BTreeMap<String, String>,
    /// Rules of `pg_hba.conf`, in order, after the agent's own for local administration.
    pub hba: Vec<HbaRule>,
    /// Roles that shall exist with exactly these attributes.
    pub roles: Vec<RoleSpec>,
    /// Databases that shall exist with exactly these attributes.
    pub databases: Vec<DatabaseSpec>,
    /// Databases and roles that shall not exist (any more). Nothing that is not named here is ever
    /// dropped: a spec that forgets a database must not cost its data.
    pub absent: Absent,
    /// Physical replication slots that shall exist, with WAL reserved, while it runs: names of
    /// lower-case letters, digits and `_`. One that has lost its WAL is made anew. Slots that are
    /// not named are left alone.
    #[serde(default)]
    pub slots: Vec<String>,
    /// Whom a follower streams from whenever it can; null if it only reads the archive. What it can
    /// stream it does not read there. A leader has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// Servers whose followers may stream from this leader; nobody else may, and who is not named
    /// any more is cut off. A follower has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streamers: Vec<ServerId>,
    /// PostgreSQL's timeline number that a follower takes when it becomes a leader: beyond that of
    /// the last leg. Null for the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion_tli: Option<u32>,
}

/// A server that gives: whom a follower streams from, or where a database is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its server, which must prove with its certificate to be that.
    pub server: ServerId,
    /// Address of its PostgreSQL.
    pub host: IpAddr,
    /// TCP port of its PostgreSQL.
    pub port: u16,
}

/// The role of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceRole {
    /// Runs and may write. One that was a follower is promoted: it begins a history of its own where
    /// its replay ends, and only the roles of the spec may log in from then on.
    Leader,
    /// Replays what another one writes, for ever, and answers queries meanwhile. It is born by a
    /// [restore](Birth::Restore) to the end; roles and databases are those of the leader, and what
    /// the spec says of them is for the day that it is promoted. What was a leader never follows.
    Follower,
    /// No process of the data directory is left; the data stays.
    Stopped,
    /// No process and no data is left: the end of a participant.
    Removed,
}

/// How a data directory comes to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Birth {
    /// A new, empty cluster: `initdb --data-checksums`.
    Initdb {
        /// Major version of PostgreSQL (15..), whose binaries the agent looks up.
        postgres_major: u16,
    },
    /// A base backup and the WAL after it, up to a target.
    Restore(RestoreSource),
}

impl Birth {
    /// Major version of PostgreSQL.
    pub fn postgres_major(&self) -> u16 {
        match self {
            Self::Initdb { postgres_major } => *postgres_major,
            Self::Restore(source) => source.postgres_major,
        }
    }

    /// What it is restored from; null if it begins empty.
    pub fn restore(&self) -> Option<&RestoreSource> {
        match self {
            Self::Initdb { .. } => None,
            Self::Restore(source) => Some(source),
        }
    }
}

/// One line of `pg_hba.conf` for TLS connections (`hostssl`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HbaRule {
    /// Database, or `all`.
    pub database: String,
    /// Role, or `all`.
    pub user: String,
    /// Network in CIDR notation.
    pub address: String,
    /// How the client proves who it is.
    pub method: HbaMethod,
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HbaMethod {
    /// Password, by SCRAM-SHA-256.
    ScramSha256,
    /// Not at all.
    Reject,
}

/// A role that shall exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleSpec {
    /// Name of the role.
    pub name: String,
    /// SCRAM-SHA-256 verifier, as PostgreSQL stores it; never a password.
    pub verifier: String,
    /// Whether the role is a superuser (only [`PROBER_ROLE`] is).
    pub superuser: bool,
    /// Most connections this role may hold; -1 for no limit.
    pub connection_limit: i32,
    /// Whether row security does not concern it: of the owner of a database that is dumped, who may
    /// have forced it on itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bypasses_row_security: bool,
}

/// A database that shall exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSpec {
    /// Name of the database.
    pub name: String,
    /// Role that owns it; only this role (and superusers) may connect.
    pub owner: String,
    /// Most connections to this database; -1 for no limit.
    pub connection_limit: i32,
}

/// What shall not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Absent {
    /// Databases to drop, with force.
    pub databases: Vec<String>,
    /// Roles to drop, after the databases.
    pub roles: Vec<String>,
}

impl InstanceSpec {
    /// What makes two specs of one generation the same: SHA-256 over everything but generation and
    /// request id, in base64.
    pub fn digest(&self) -> String {
        let identity = Self {
            generation: 0,
            request_id: RequestId::from_uuid(uuid::Uuid::nil()),
            ..self.clone()
        };
        let json = serde_json::to_vec(&identity).expect("a spec is plain data and serialises");
        BASE64_STANDARD.encode(Sha256::digest(json))
    }
}

/// What a server is and has, at the moment of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The server this agent was started for.
    pub server: ServerId,
    /// Version of the agent.
    pub agent_version: String,
    /// Moment this agent process started.
    pub agent_started_at: DateTime<Utc>,
    /// The machine's boot: another value means that everything on it was restarted.
    pub boot_id: String,
    /// Participant it holds; null before the first spec.
    pub participant: Option<ParticipantId>,
    /// Highest generation made durable here; 0 before the first spec.
    pub generation: u64,
    /// [`InstanceSpec::digest`] of that generation.
    pub spec_digest: Option<String>,
    /// Highest generation whose spec holds in full here; 0 before the first.
    pub converged_generation: u64,
    /// Where the work stands.
    pub phase: Phase,
    /// What PostgreSQL is doing; null while it is not running.
    pub postgres: Option<PostgresStatus>,
    /// How often PostgreSQL ended without being told to, since the first spec.
    pub crashes: u64,
    /// The last such end or the last error of the work in hand, for operators.
    pub last_error: Option<String>,
    /// State of the disk that carries the WAL.
    pub disk: DiskStatus,
    /// End of validity of the agent's certificate.
    pub certificate_not_after: DateTime<Utc>,
    /// Addresses in that certificate, by which clients know the server's PostgreSQL; null from an agent
    /// that does not tell.
    #[serde(default)]
    pub certificate_addresses: Option<Vec<IpAddr>>,
    /// How its restore goes or went; null if it was not born from one.
    #[serde(default)]
    pub restore: Option<RestoreStatus>,
    /// How its check goes or went; null before one was asked for in this life of the agent.
    #[serde(default)]
    pub check: Option<CheckStatus>,
}

impl InstanceStatus {
    /// Its PostgreSQL, if it is that of `participant` and writes.
    pub fn leading(&self, participant: ParticipantId) -> Option<&PostgresStatus> {
        let postgres = self.postgres.as_ref()?;
        let leads = self.participant == Some(participant) && postgres.in_recovery == Some(false);
        leads.then_some(postgres)
    }

    /// How far its PostgreSQL replays; null if it does not, or is not known to.
    pub fn standby(&self) -> Option<&StandbyStatus> {
        self.postgres.as_ref()?.standby.as_ref()
    }
}

/// Where an agent's work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No spec yet.
    Empty,
    /// Making the data directory.
    Creating,
    /// PostgreSQL starts or recovers.
    Starting,
    /// Runs; settings, roles or databases may still be on their way.
    Running,
    /// On its way to no process.
    Stopping,
    /// No process of the data directory is left.
    Stopped,
    /// Neither process nor data is left.
    Removed,
}

/// A running PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresStatus {
    /// Process id of the postmaster.
    pub pid: u32,
    /// Moment the postmaster started.
    pub started_at: DateTime<Utc>,
    /// Full version, as in `server_version` (for example `15.18`).
    pub version: String,
    /// `system_identifier` of the cluster.
    pub system_identifier: String,
    /// PostgreSQL's own timeline number.
    pub tli: u32,
    /// Size of a WAL segment in bytes: a power of two, 1 MiB to 1 GiB.
    pub wal_segment_bytes: u32,
    /// WAL flushed to disk up to here; null while PostgreSQL does not answer.
    pub flush_lsn: Option<Lsn>,
    /// Age in milliseconds of the oldest wait of a backend for a WAL write or sync; null if none
    /// waits or PostgreSQL does not answer.
    pub wal_wait_ms: Option<u64>,
    /// The slot [`ARCHIVE_SLOT`]; null if there is none or PostgreSQL does not answer.
    #[serde(default)]
    pub archive_slot: Option<SlotStatus>,
    /// Whether it replays WAL and cannot write; null while PostgreSQL does not answer.
    #[serde(default)]
    pub in_recovery: Option<bool>,
    /// How far it replays; null if it is not in recovery, or PostgreSQL does not answer.
    #[serde(default)]
    pub standby: Option<StandbyStatus>,
}

/// A PostgreSQL that replays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyStatus {
    /// Streamed and flushed up to here; null if nothing was streamed since it was started.
    pub receive_lsn: Option<Lsn>,
    /// Replayed up to here.
    pub replay_lsn: Option<Lsn>,
    /// Moment of the last commit that was replayed, by the clock of the leader; null before the
    /// first since it was started.
    pub replayed_commit_at: Option<DateTime<Utc>>,
    /// The server that it streams from at this moment; null if it does not stream.
    pub streams_from: Option<ServerId>,
    /// Why replay stands still, for people; null while it does not.
    pub paused: Option<String>,
}

/// A replication slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// Oldest WAL that it holds; null if it has lost it.
    pub restart_lsn: Option<Lsn>,
    /// Whether what it holds is safe.
    pub wal_status: SlotWal,
    /// Bytes of WAL that may still be written before it loses some, below 0 if it is about to; null
    /// if there is no limit or all is lost.
    pub safe_wal_bytes: Option<i64>,
}

/// How safe the WAL of a slot is: `wal_status` of `pg_replication_slots`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotWal {
    /// It is within `max_wal_size`.
    Reserved,
    /// More than `max_wal_size` is kept for it.
    Extended,
    /// It will be lost at the next checkpoint.
    Unreserved,
    /// Some of it is gone.
    Lost,
}

/// State of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Bytes in use on the file system.
    pub used_bytes: u64,
    /// Size of the file system in bytes.
    pub total_bytes: u64,
    /// Milliseconds the last finished write-and-fsync probe took; null before the first.
    pub probe_took_ms: Option<u64>,
    /// Milliseconds since the last probe finished. The agent probes every few seconds: a disk that
    /// hangs shows as an age that grows.
    pub probe_age_ms: u64,
}

/// A call that was refused and changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why, as a closed set.
    pub code: RefusalCode,
    /// Why, for people.
    pub message: String,
    /// Highest generation made durable here.
    pub generation: u64,
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// A higher generation was seen, or a newer order is carried out.
    OldGeneration,
    /// This generation was seen with another spec.
    GenerationReused,
    /// The server holds another participant, or none.
    OtherParticipant,
    /// This generation was not seen here yet.
    UnknownGeneration,
    /// PostgreSQL here is another cluster, or on another `tli`.
    OtherHistory,
    /// PostgreSQL does not run here, or does not answer.
    NotRunning,
    /// The request is not what this version of the agent understands or can do.
    Invalid,
}

/// A renewed certificate for the key the agent already has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCertificate {
    /// The certificate, PEM.
    pub certificate_pem: String,
}

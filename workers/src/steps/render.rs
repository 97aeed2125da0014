//! The spec of a participant, rendered from rows: the same rows always make the same spec.

use std::collections::BTreeMap;

use shared::agent_api::{
    ARCHIVE_SLOT, Absent, Birth, DatabaseSpec, HbaMethod, HbaRule, InstanceRole, InstanceSpec,
    PROBER_ROLE, RoleSpec, Upstream,
};
use shared::db::fleet::{DatabaseWish, ParticipantRow, ServerRow};
use shared::domain::{ParticipantRole, ParticipantState, WalRoom};
use shared::ids::{RequestId, ResourceId, ServerId};
use shared::secret::{Vault, VaultError};

use super::contexts;

/// Connections kept for superusers, so that `feel` and operators get in when customers have taken
/// all others. PostgreSQL's default of 3 leaves none for a person beside our probers.
const RESERVED_CONNECTIONS: u32 = 10;

/// A rendered spec with the resources it covers.
#[derive(Debug)]
pub(crate) struct Rendered {
    /// The spec.
    pub(crate) spec: InstanceSpec,
    /// Resources whose database it says to exist.
    pub(crate) wanted: Vec<ResourceId>,
    /// Resources whose database it says not to exist.
    pub(crate) absent: Vec<ResourceId>,
    /// Digest of the spec.
    pub(crate) digest: String,
    /// Whether every attached resource knows a generation that covers it.
    all_covered: bool,
}

impl Rendered {
    /// Whether the newest instruction of `row` is this spec, and covers every attached resource.
    pub(crate) fn is_instructed(&self, row: &ParticipantRow) -> bool {
        self.all_covered && row.spec_digest.as_ref() == Some(&self.digest)
    }
}

/// What the agent of `server` shall run now, as instruction number `generation`.
pub(crate) fn render(
    server: &ServerRow,
    participant: &ParticipantRow,
    wishes: &[DatabaseWish],
    vault: &Vault,
    (generation, request_id): (u64, RequestId),
) -> Result<Rendered, VaultError> {
    let role = role_of(participant);
    let mut roles = vec![prober(participant, vault)?];
    let mut databases = Vec::new();
    let (wanted, absent): (Vec<_>, Vec<_>) = wishes.iter().partition(|wish| wish.wanted);
    for wish in &wanted {
        let Some(sealed) = &wish.verifier else {
            continue;
        };
        roles.push(RoleSpec {
            name: wish.role_name.clone(),
            verifier: verifier(vault, &contexts::verifier(wish.resource), sealed)?,
            superuser: false,
            connection_limit: wish.connection_limit,
            bypasses_row_security: wish.is_donor,
        });
        if wish.has_database {
            databases.push(DatabaseSpec {
                name: wish.database_name.clone(),
                owner: wish.role_name.clone(),
                connection_limit: -1,
            });
        }
    }
    let spec = InstanceSpec {
        participant: participant.id,
        generation,
        request_id,
        role,
        incarnation: participant.incarnation,
        birth: birth_of(participant),
        port: server.postgres_port.unwrap_or(0),
        listen_addresses: server.host.iter().cloned().collect(),
        settings: settings(server.connections, WalRoom::on(server.disk_bytes)),
        hba: hba(),
        roles,
        databases,
        absent: gone(&absent),
        slots: slots(participant, role),
        upstream: upstream_of(participant).filter(|_| role == InstanceRole::Follower),
        streamers: streamers(role, participant),
        promotion_tli: None,
    };
    let ids = |wishes: Vec<&DatabaseWish>| {
        let own = wishes.iter().filter(|wish| !wish.is_donor);
        own.map(|wish| wish.resource).collect()
    };
    Ok(Rendered {
        digest: spec.digest(),
        spec,
        wanted: ids(wanted),
        absent: ids(absent),
        all_covered: wishes.iter().all(|wish| wish.covered),
    })
}

/// Our own role.
fn prober(participant: &ParticipantRow, vault: &Vault) -> Result<RoleSpec, VaultError> {
    let context = contexts::prober_verifier(participant.id);
    Ok(RoleSpec {
        name: PROBER_ROLE.to_owned(),
        verifier: verifier(vault, &context, &participant.prober_verifier)?,
        superuser: true,
        connection_limit: -1,
        bypasses_row_security: false,
    })
}

fn verifier(vault: &Vault, context: &str, sealed: &[u8]) -> Result<String, VaultError> {
    let verifier = vault.open(context, sealed)?;
    Ok(verifier.expose().to_owned())
}

fn gone(absent: &[&DatabaseWish]) -> Absent {
    let each = absent.iter();
    Absent {
        databases: each
            .clone()
            .map(|wish| wish.database_name.clone())
            .collect(),
        roles: each.map(|wish| wish.role_name.clone()).collect(),
    }
}

fn role_of(participant: &ParticipantRow) -> InstanceRole {
    match participant.state {
        ParticipantState::Removing | ParticipantState::Removed => InstanceRole::Removed,
        ParticipantState::Planned
        | ParticipantState::Creating
        | ParticipantState::Serving
        | ParticipantState::Down => match participant.role {
            // A hidden one is a leader for its agent, of a history that nobody sees.
            ParticipantRole::Leader | ParticipantRole::Proof | ParticipantRole::Donor => {
                InstanceRole::Leader
            }
            ParticipantRole::Follower => InstanceRole::Follower,
        },
    }
}

fn streamers(role: InstanceRole, participant: &ParticipantRow) -> Vec<ServerId> {
    match role {
        InstanceRole::Leader => participant.streamers.clone(),
        InstanceRole::Follower | InstanceRole::Stopped | InstanceRole::Removed => Vec::new(),
    }
}

/// A follower needs no slot: what it misses it reads from the archive. Of a hidden one nothing is kept.
fn slots(participant: &ParticipantRow, role: InstanceRole) -> Vec<String> {
    match role {
        InstanceRole::Follower => Vec::new(),
        InstanceRole::Leader | InstanceRole::Stopped | InstanceRole::Removed => {
            match participant.role {
                ParticipantRole::Leader | ParticipantRole::Follower => {
                    vec![ARCHIVE_SLOT.to_owned()]
                }
                ParticipantRole::Proof | ParticipantRole::Donor => Vec::new(),
            }
        }
    }
}

/// Whom a follower streams from. One without an address is not there yet: the archive has it all.
fn upstream_of(participant: &ParticipantRow) -> Option<Upstream> {
    let (server, address) = participant.upstream.as_ref()?;
    Some(Upstream {
        server: *server,
        host: address.host.parse().ok()?,
        port: address.port,
    })
}

fn birth_of(participant: &ParticipantRow) -> Birth {
    match &participant.restore {
        Some(restore) => Birth::Restore(restore.source.clone()),
        None => Birth::Initdb {
            postgres_major: participant.postgres_major,
        },
    }
}

/// Most connections of one server: each costs PostgreSQL shared memory and snapshot time.
const MOST_CONNECTIONS: u32 = 500;

fn settings(connections: u32, room: WalRoom) -> BTreeMap<String, String> {
    let mebibytes = |bytes: u64| format!("{}MB", bytes >> 20);
    // Fixed by the plan: a change needs a restart, and a new neighbour must not restart the others.
    let all = connections.min(MOST_CONNECTIONS) + RESERVED_CONNECTIONS;
    [
        ("max_connections", all.to_string()),
        (
            "superuser_reserved_connections",
            RESERVED_CONNECTIONS.to_string(),
        ),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("wal_level", "replica".to_owned()),
        ("wal_log_hints", "on".to_owned()),
        ("max_slot_wal_keep_size", mebibytes(room.kept_bytes)),
        ("max_wal_size", mebibytes(room.between_checkpoints_bytes)),
        ("fsync", "on".to_owned()),
        ("full_page_writes", "on".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Only with a password, only through TLS, and nobody from outside as the system's superuser.
fn hba() -> Vec<HbaRule> {
    ["0.0.0.0/0", "::/0"]
        .into_iter()
        .flat_map(|address| {
            [
                ("postgres", HbaMethod::Reject),
                ("all", HbaMethod::ScramSha256),
            ]
            .map(|(user, method)| HbaRule {
                database: "all".to_owned(),
                user: user.to_owned(),
                address: address.to_owned(),
                method,
            })
        })
        .collect()
}

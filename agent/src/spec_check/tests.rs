use std::collections::BTreeMap;

use shared::agent_api::restore::{Leg, NewName, Rename, RestoreSource};
use shared::agent_api::{
    Absent, Birth, DatabaseSpec, HbaMethod, InstanceRole, REPLICATION_ROLE, RoleSpec, Upstream,
};
use shared::archive::layout::Run;
use shared::ids::{BackupId, ParticipantId, RequestId, ServerId, TimelineId};
use shared::units::Lsn;

use super::*;

/// A good spec.
pub(crate) fn spec() -> InstanceSpec {
    InstanceSpec {
        participant: ParticipantId::from_uuid(uuid::Uuid::from_u128(7)),
        generation: 3,
        request_id: RequestId::from_uuid(uuid::Uuid::from_u128(8)),
        role: InstanceRole::Leader,
        incarnation: 1,
        birth: Birth::Initdb { postgres_major: 15 },
        port: 15432,
        listen_addresses: vec!["127.0.0.1".to_owned()],
        settings: BTreeMap::new(),
        hba: vec![HbaRule {
            database: "shop".to_owned(),
            user: "shop".to_owned(),
            address: "0.0.0.0/0".to_owned(),
            method: HbaMethod::ScramSha256,
        }],
        roles: vec![role("shop"), role("other")],
        databases: vec![database("shop", "shop")],
        absent: Absent::default(),
        slots: vec!["ringmaster_archive".to_owned()],
        upstream: None,
        streamers: Vec::new(),
        promotion_tli: None,
    }
}

pub(crate) fn role(name: &str) -> RoleSpec {
    RoleSpec {
        name: name.to_owned(),
        verifier: "SCRAM-SHA-256$4096:c2FsdA==$a:b".to_owned(),
        superuser: false,
        connection_limit: 20,
        bypasses_row_security: false,
    }
}

pub(crate) fn database(name: &str, owner: &str) -> DatabaseSpec {
    DatabaseSpec {
        name: name.to_owned(),
        owner: owner.to_owned(),
        connection_limit: 20,
    }
}

#[test]
fn a_good_spec_is_accepted() {
    assert_eq!(check_spec(&spec()), Ok(()));
}

#[track_caller]
fn check(field: &str, spoil: impl FnOnce(&mut InstanceSpec)) {
    let mut spec = spec();
    spoil(&mut spec);
    let problem = check_spec(&spec).unwrap_err();
    assert!(problem.starts_with(&format!("{field}:")), "{problem}");
}

fn set(spec: &mut InstanceSpec, name: &str, value: &str) {
    spec.settings.insert(name.to_owned(), value.to_owned());
}

#[test]
fn a_bad_spec_is_refused_by_the_name_of_the_field() {
    check("generation", |spec| spec.generation = 0);
    check("incarnation", |spec| spec.incarnation = 0);
    check("port", |spec| spec.port = 80);
    check("listen_addresses", |spec| {
        spec.listen_addresses.push("example.com".to_owned());
    });
    check("settings", |spec| set(spec, "hba_file", "/etc/passwd"));
    check("settings", |spec| set(spec, "ssl", "off"));
    check("settings", |spec| set(spec, "work_mem", "8MB'\nssl = off"));
    check("settings", |spec| set(spec, "include x", "y"));
    check("settings", |spec| set(spec, "a.b.c", "y"));
    check("hba", |spec| spec.hba[0].user = "+admins".to_owned());
    check("hba", |spec| spec.hba[0].database = "/regex".to_owned());
    check("hba", |spec| {
        spec.hba[0].address = "0.0.0.0/0 trust".to_owned();
    });
    check("hba", |spec| spec.hba[0].address = "10.0.0.1/33".to_owned());
    check("roles", |spec| spec.roles.push(role("shop")));
    check("roles", |spec| spec.roles.push(role("postgres")));
    check("roles", |spec| spec.roles.push(role("pg_monitor")));
    check("roles", |spec| spec.roles.push(role("bad\"name")));
    check("roles", |spec| spec.roles.push(role(&"x".repeat(64))));
    check("roles", |spec| spec.roles[0].superuser = true);
    check("roles", |spec| {
        spec.roles[0].verifier = "a password".to_owned();
    });
    check("roles", |spec| spec.roles[0].connection_limit = -2);
    check("databases", |spec| {
        spec.databases.push(database("shop", "shop"));
    });
    check("databases", |spec| {
        spec.databases.push(database("template1", "shop"));
    });
    check("databases", |spec| {
        spec.databases.push(database("new", "nobody"));
    });
    check("databases", |spec| spec.databases[0].connection_limit = -2);
    check("absent.databases", |spec| {
        spec.absent.databases.push("shop".to_owned());
    });
    check("absent.databases", |spec| {
        spec.absent.databases.push("postgres".to_owned());
    });
    check("absent.roles", |spec| {
        spec.absent.roles.push("other".to_owned());
    });
    check("absent.roles", |spec| {
        spec.absent.roles.push(PROBER_ROLE.to_owned());
    });
    check("slots", |spec| spec.slots.push("Archive".to_owned()));
    check("slots", |spec| spec.slots.push(String::new()));
    check("slots", |spec| spec.slots.push("x".repeat(64)));
    check("slots", |spec| spec.slots.push(spec.slots[0].clone()));
}

#[test]
fn our_prober_may_be_a_superuser() {
    let mut spec = spec();
    spec.roles.push(RoleSpec {
        superuser: true,
        ..role(PROBER_ROLE)
    });
    assert_eq!(check_spec(&spec), Ok(()));
}

/// A restore that is good.
pub(crate) fn source() -> RestoreSource {
    let timeline = TimelineId::from_uuid(uuid::Uuid::from_u128(9));
    let leg = |epoch, end| Leg {
        timeline,
        run: Run { epoch, tli: epoch },
        end: Lsn::from_bytes(end),
    };
    RestoreSource {
        postgres_major: 15,
        system_identifier: 7,
        timeline,
        backup: BackupId::from_uuid(uuid::Uuid::from_u128(10)),
        path: vec![leg(1, 100), leg(2, 200)],
        target: Target::End,
        complete_until: chrono::DateTime::UNIX_EPOCH,
        renames: Vec::new(),
    }
}

fn with(change: impl FnOnce(&mut RestoreSource)) -> impl FnOnce(&mut InstanceSpec) {
    let mut source = source();
    change(&mut source);
    move |spec: &mut InstanceSpec| spec.birth = Birth::Restore(source)
}

#[test]
fn a_way_that_leads_nowhere_is_refused() {
    let mut good = spec();
    with(|_| ())(&mut good);
    assert_eq!(check_spec(&good), Ok(()));
    check("birth", with(|source| source.path.clear()));
    check("birth", with(|source| source.path.reverse()));
    check("birth", with(|source| source.path[0].run.tli = 0));
    check(
        "birth",
        with(|source| {
            source.target = Target::Lsn {
                lsn: Lsn::from_bytes(201),
            };
        }),
    );
}

fn following(change: impl FnOnce(&mut InstanceSpec)) -> impl FnOnce(&mut InstanceSpec) {
    |spec: &mut InstanceSpec| {
        with(|_| ())(spec);
        spec.role = InstanceRole::Follower;
        spec.upstream = Some(Upstream {
            server: ServerId::from_uuid(uuid::Uuid::from_u128(11)),
            host: IpAddr::from([10, 0, 0, 7]),
            port: 5432,
        });
        change(spec);
    }
}

#[test]
fn a_follower_is_restored_to_the_end_and_a_leader_streams_from_nobody() {
    let mut good = spec();
    following(|spec| spec.promotion_tli = Some(3))(&mut good);
    assert_eq!(check_spec(&good), Ok(()));
    check(
        "role",
        following(|spec| spec.birth = Birth::Initdb { postgres_major: 15 }),
    );
    let lsn = Lsn::from_bytes(150);
    let to_position = with(move |source| source.target = Target::Lsn { lsn });
    check("role", following(to_position));
    let server = ServerId::from_uuid(uuid::Uuid::from_u128(12));
    check(
        "streamers",
        following(move |spec| spec.streamers = vec![server]),
    );
    check("streamers", move |spec| {
        spec.streamers = vec![server, server];
    });
    check(
        "upstream",
        following(|spec| spec.role = InstanceRole::Leader),
    );
    check(
        "promotion_tli",
        following(|spec| spec.promotion_tli = Some(2)),
    );
    check(
        "promotion_tli",
        following(|spec| spec.promotion_tli = Some(5000)),
    );
    check("promotion_tli", |spec| spec.promotion_tli = Some(2));
    check("settings", |spec| set(spec, "primary_conninfo", "host=x"));
    check("settings", |spec| set(spec, "restore_command", "true"));
    check("roles", |spec| spec.roles.push(role(REPLICATION_ROLE)));
}

#[test]
fn only_names_of_customers_are_replaced_by_names_of_the_spec() {
    let rename = |database: (&str, &str), role: (&str, &str)| {
        let name = |(from, to): (&str, &str)| NewName {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        Rename {
            database: name(database),
            role: name(role),
        }
    };
    let good = rename(("parent", "shop"), ("parent_owner", "shop"));
    let mut spec = spec();
    with(|source| source.renames = vec![good.clone()])(&mut spec);
    assert_eq!(check_spec(&spec), Ok(()));
    for bad in [
        rename(("postgres", "shop"), ("parent", "shop")),
        rename(("parent", "unknown"), ("parent", "shop")),
        rename(("par\"ent", "shop"), ("parent", "shop")),
        rename(("parent", "shop"), ("postgres", "shop")),
        rename(("parent", "shop"), (PROBER_ROLE, "shop")),
        rename(("parent", "shop"), ("parent", "unknown")),
        rename(("parent", "shop"), ("", "shop")),
    ] {
        check("birth", with(|source| source.renames = vec![bad]));
    }
    // The same name twice.
    let again = rename(("other", "shop"), ("shop", "other"));
    check("birth", with(|source| source.renames = vec![good, again]));
}

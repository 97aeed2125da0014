use shared::agent_api::DiskStatus;
use shared::ids::{ParticipantId, ResourceId};
use shared::secret::Secret;
use shared::units::Lsn;

use super::*;
use crate::observe::Newest;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn target() -> Target {
    Target {
        resource: ResourceId::new(),
        participant: ParticipantId::new(),
        host: "127.0.0.1".to_owned(),
        port: 5432,
        server_name: "x.server.ringmaster.internal".to_owned(),
        ca_pem: "".into(),
        prober_password: Secret::new(""),
        database: "shop".to_owned(),
        customer_role: "shop".to_owned(),
        connection_limit: 20,
        shared: false,
    }
}

fn look(lsn: u64, wal_wait_s: Option<f64>) -> Look {
    Look {
        started_at: at(-10),
        wal_lsn: Some(Lsn::from_bytes(lsn)),
        replay: None,
        open: 3,
        active: 1,
        oldest_transaction_s: None,
        wal_wait_s,
        blocks_fetched: 0,
        blocks_hit: 0,
    }
}

/// `wal_wait_ms` of the last of some looks: second, position, age of the waiting statement.
fn wal_wait_ms_after(looks: &[(i64, u64, f64)]) -> Option<u64> {
    let newest = Newest::default();
    let target = target();
    for &(second, lsn, age) in looks {
        let before = newest.get(target.resource);
        let seen = observation(Parts {
            target: &target,
            now: at(second),
            look: Ok((look(lsn, Some(age)), Duration::from_millis(3))),
            survey: None,
            agent: None,
            before: before.as_ref(),
        });
        newest.record(target.resource, seen, None);
    }
    newest.get(target.resource)?.observation.wal_wait_ms
}

#[test]
fn a_long_statement_that_writes_is_not_a_disk_that_hangs() {
    assert_eq!(wal_wait_ms_after(&[(0, 1, 600.0)]), Some(0));
    assert_eq!(
        wal_wait_ms_after(&[(0, 1, 600.0), (10, 2, 610.0)]),
        Some(10_000)
    );
    let moving = [(0, 1, 600.0), (10, 2, 610.0), (20, 3, 620.0)];
    assert_eq!(wal_wait_ms_after(&moving), Some(10_000));
}

#[test]
fn a_disk_that_hangs_shows_as_a_wait_that_grows() {
    let standing = [(0, 1, 5.0), (10, 1, 15.0), (20, 1, 25.0), (30, 1, 35.0)];
    assert_eq!(wal_wait_ms_after(&standing), Some(30_000));
    assert_eq!(wal_wait_ms_after(&[(0, 1, 1.0), (3600, 1, 0.005)]), Some(5));
}

#[test]
fn without_an_answer_the_agent_tells_of_the_disk() {
    let target = target();
    let agent = agent_status();
    let seen = observation(Parts {
        target: &target,
        now: at(0),
        look: Err(Outage::TimedOut),
        survey: None,
        agent: Some(&agent),
        before: None,
    });
    let expected = Observation {
        wal_wait_ms: Some(9_000),
        disk_used_bytes: Some(10),
        disk_total_bytes: Some(100),
        disk_probe_age_ms: Some(8_000),
        disk_probe_took_ms: Some(4),
        ..Observation::absent(at(0), Outage::TimedOut)
    };
    assert_eq!(seen, expected);
}

fn agent_status() -> InstanceStatus {
    use shared::agent_api::{Phase, PostgresStatus};
    InstanceStatus {
        server: shared::ids::ServerId::new(),
        agent_version: "0.1.0".to_owned(),
        agent_started_at: at(-100),
        boot_id: "boot".to_owned(),
        participant: None,
        generation: 1,
        spec_digest: None,
        converged_generation: 1,
        phase: Phase::Running,
        postgres: Some(PostgresStatus {
            pid: 1,
            started_at: at(-10),
            version: "15.18".to_owned(),
            system_identifier: "1".to_owned(),
            tli: 1,
            wal_segment_bytes: 16 << 20,
            flush_lsn: None,
            wal_wait_ms: Some(9_000),
            archive_slot: None,
            in_recovery: None,
            standby: None,
        }),
        crashes: 0,
        last_error: None,
        disk: DiskStatus {
            used_bytes: 10,
            total_bytes: 100,
            probe_took_ms: Some(4),
            probe_age_ms: 8_000,
        },
        certificate_not_after: at(1000),
        certificate_addresses: None,
        restore: None,
        check: None,
    }
}

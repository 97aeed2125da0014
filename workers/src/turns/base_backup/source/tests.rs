use chrono::DateTime;
use shared::agent_api::{DiskStatus, PostgresStatus, StandbyStatus};

use super::*;

const MIB: u64 = 1024 * 1024;

fn wanted() -> Wanted {
    let server = ServerId::new();
    Wanted {
        source: Source {
            participant: ParticipantId::new(),
            generation: 3,
            agent: AgentAddress {
                server,
                address: ([127, 0, 0, 1], 1).into(),
            },
            follows: true,
        },
        leader: ServerId::new(),
        reached: Lsn::from_bytes(100 * MIB),
        backed_up: Lsn::from_bytes(20 * MIB),
    }
}

fn fit(wanted: &Wanted) -> InstanceStatus {
    let at = DateTime::UNIX_EPOCH;
    InstanceStatus {
        server: wanted.source.agent.server,
        agent_version: String::new(),
        agent_started_at: at,
        boot_id: String::new(),
        participant: Some(wanted.source.participant),
        generation: 3,
        spec_digest: None,
        converged_generation: 3,
        phase: Phase::Running,
        postgres: Some(PostgresStatus {
            pid: 1,
            started_at: at,
            version: String::new(),
            system_identifier: String::new(),
            tli: 1,
            wal_segment_bytes: 16 << 20,
            flush_lsn: None,
            wal_wait_ms: None,
            archive_slot: None,
            in_recovery: Some(true),
            standby: Some(StandbyStatus {
                receive_lsn: None,
                replay_lsn: Some(Lsn::from_bytes(100 * MIB)),
                replayed_commit_at: None,
                streams_from: Some(wanted.leader),
                paused: None,
            }),
        }),
        crashes: 0,
        last_error: None,
        disk: DiskStatus {
            used_bytes: 0,
            total_bytes: 0,
            probe_took_ms: None,
            probe_age_ms: 0,
        },
        certificate_not_after: at,
        certificate_addresses: None,
        restore: None,
        check: None,
    }
}

/// Whether a follower is fit after `change`.
fn is_fit_with(change: impl FnOnce(&mut InstanceStatus)) -> bool {
    let wanted = wanted();
    let mut status = fit(&wanted);
    change(&mut status);
    wanted.is_missing_in(&status).is_none()
}

fn standby(status: &mut InstanceStatus) -> &mut StandbyStatus {
    let postgres = status.postgres.as_mut().unwrap();
    postgres.standby.as_mut().unwrap()
}

fn replayed(bytes: u64) -> impl FnOnce(&mut InstanceStatus) {
    move |status| standby(status).replay_lsn = Some(Lsn::from_bytes(bytes))
}

#[test]
fn a_follower_that_streams_and_has_almost_everything_is_backed_up() {
    assert!(is_fit_with(|_| ()));
    assert!(is_fit_with(replayed(101 * MIB)));
    assert!(is_fit_with(replayed(36 * MIB)));
    assert!(!is_fit_with(replayed(36 * MIB - 1)));
    assert!(!is_fit_with(|status| standby(status).replay_lsn = None));
}

#[test]
fn a_follower_that_has_not_replayed_the_newest_backup_is_not() {
    let mut wanted = wanted();
    let status = fit(&wanted);
    wanted.backed_up = Lsn::from_bytes(100 * MIB);
    assert_eq!(wanted.is_missing_in(&status), None);
    wanted.backed_up = Lsn::from_bytes(100 * MIB + 1);
    assert!(wanted.is_missing_in(&status).is_some());
}

#[test]
fn a_follower_that_may_soon_be_none_is_not() {
    assert!(!is_fit_with(|status| status.generation = 4));
    assert!(!is_fit_with(|status| status.participant = None));
    assert!(!is_fit_with(|status| status.phase = Phase::Starting));
    assert!(!is_fit_with(|status| status.postgres = None));
    assert!(!is_fit_with(|status| {
        status.postgres.as_mut().unwrap().standby = None;
    }));
    assert!(!is_fit_with(|status| standby(status).streams_from = None));
    assert!(!is_fit_with(|status| {
        standby(status).streams_from = Some(ServerId::new());
    }));
    assert!(!is_fit_with(|status| {
        standby(status).paused = Some("limits".to_owned());
    }));
}

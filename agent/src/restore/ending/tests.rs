use chrono::{DateTime, Utc};
use shared::agent_api::restore::Leg;
use shared::archive::layout::Run;
use shared::ids::{BackupId, TimelineId};

use super::*;

const TIMELINE: TimelineId = TimelineId::from_uuid(uuid::Uuid::from_u128(1));

fn lsn(bytes: u64) -> Lsn {
    Lsn::from_bytes(bytes)
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn source(target: Target) -> RestoreSource {
    RestoreSource {
        postgres_major: 15,
        system_identifier: 7,
        timeline: TIMELINE,
        backup: BackupId::from_uuid(uuid::Uuid::from_u128(2)),
        path: vec![Leg {
            timeline: TIMELINE,
            run: Run { epoch: 1, tli: 1 },
            end: lsn(100),
        }],
        target,
        complete_until: at(1000),
        renames: Vec::new(),
    }
}

fn manifest() -> Manifest {
    Manifest {
        backup: source(Target::End).backup,
        timeline: TIMELINE,
        system_identifier: 7,
        run: Run { epoch: 1, tli: 1 },
        start_lsn: lsn(10),
        stop_lsn: lsn(20),
        started_at: at(10),
        stopped_at: at(20),
        postgres_version: "15.18".to_owned(),
        wal_segment_bytes: 1 << 20,
        backup_label: String::new(),
        directories: Vec::new(),
        parts: Vec::new(),
        damaged_pages: Vec::new(),
    }
}

#[test]
fn a_target_outside_is_refused_with_the_window() {
    let check = |target| check_target(&source(target), &manifest());
    for target in [
        Target::End,
        Target::Lsn { lsn: lsn(20) },
        Target::Lsn { lsn: lsn(100) },
        Target::Time { at: at(20) },
        Target::Time { at: at(2000) },
    ] {
        assert_eq!(check(target), Ok(()));
    }
    for target in [
        Target::Lsn { lsn: lsn(19) },
        Target::Lsn { lsn: lsn(101) },
        Target::Time { at: at(19) },
    ] {
        let refused = check(target).unwrap_err();
        assert!(
            refused.contains("from 1970-01-01T00:00:20Z (0/14) to"),
            "{refused}"
        );
    }
    let mut elsewhere = manifest();
    elsewhere.run.epoch = 2;
    assert!(check_target(&source(Target::End), &elsewhere).is_err());
    let mut late = manifest();
    late.stop_lsn = lsn(101);
    assert!(check_target(&source(Target::End), &late).is_err());
}

#[test]
fn only_a_moment_that_the_archive_covers_may_be_reached_by_its_end() {
    let log = "FATAL:  recovery ended before configured recovery target was reached\n";
    let judge = |log, target| judge_log(log, &source(target), &manifest());
    assert_eq!(judge("FATAL:  the disk is full", Target::End), None);
    let covered = judge(log, Target::Time { at: at(1000) });
    assert_eq!(covered, Some(Outcome::EndIsTarget));
    for target in [Target::Time { at: at(1001) }, Target::Lsn { lsn: lsn(99) }] {
        let Some(Outcome::Failed(detail)) = judge(log, target) else {
            panic!("{target}");
        };
        assert!(detail.contains("was not reached"), "{detail}");
    }
    let early = "FATAL:  requested recovery stop point is before consistent recovery point";
    let early = judge(early, Target::Time { at: at(20) });
    assert!(matches!(early, Some(Outcome::Failed(_))));
}

/// What is said of a history that was left like this, with the last record of the archive at 0/90.
fn check_left(line: &str, target: Target, to_end: bool) -> Result<u64, String> {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("pg_wal")).unwrap();
    let history = format!("# a comment\n{line}\n\n");
    fs::write(directory.path().join("pg_wal/00000002.history"), history).unwrap();
    let last = LastRecord::open(directory.path()).unwrap();
    last.note(Some(lsn(0x90)), false).unwrap();
    last.note(None, false).unwrap();
    last.note(Some(lsn(0x80)), true).unwrap();
    let paths = (directory.path(), directory.path());
    check(paths, 2, &source(target), to_end).map(|restored| restored.began_at.bytes())
}

#[test]
fn the_end_is_where_the_last_record_ends_and_nowhere_before() {
    let end = "1\t0/90\tno recovery target specified";
    assert_eq!(check_left(end, Target::End, true), Ok(0x90));
    assert_eq!(check_left(end, Target::Time { at: at(30) }, true), Ok(0x90));
    let early = "1\t0/88\tno recovery target specified";
    let refused = check_left(early, Target::End, true).unwrap_err();
    assert!(refused.contains("ended recovery at 0/88"), "{refused}");
    assert!(check_left(end, Target::Lsn { lsn: lsn(0x91) }, true).is_err());
    assert!(check_left("3\t0/90\tx", Target::End, true).is_err());
    assert!(check_left("nonsense", Target::End, true).is_err());
}

#[test]
fn a_target_was_found_or_it_was_not_reached() {
    let found = "1\t0/50\tafter LSN 0/48";
    let target = Target::Lsn { lsn: lsn(0x48) };
    assert_eq!(check_left(found, target, false), Ok(0x50));
    assert!(check_left(found, Target::Lsn { lsn: lsn(0x51) }, false).is_err());
    let missed = "1\t0/50\tno recovery target specified";
    assert!(check_left(missed, target, false).is_err());
    let before = "1\t0/50\tbefore 2026-11-22 10:15:00+00";
    let time = Target::Time { at: at(30) };
    assert_eq!(check_left(before, time, false), Ok(0x50));
    assert!(check_left(missed, time, false).is_err());
}

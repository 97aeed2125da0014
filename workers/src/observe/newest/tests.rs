use shared::domain::Outage;

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn absent(seconds: i64) -> Observation {
    Observation::absent(at(seconds), Outage::Refused)
}

fn present(seconds: i64, started_at: i64, lsn: u64) -> Observation {
    Observation {
        available: true,
        outage: None,
        postgres_started_at: Some(at(started_at)),
        wal_lsn: Some(Lsn::from_bytes(lsn)),
        ..absent(seconds)
    }
}

fn surveyed(seconds: i64) -> Observation {
    Observation {
        tables: Some(TableUse {
            count: 3,
            rows_estimated: 4,
            sequential_scans: 5,
            index_scans: 6,
            counted_at: at(seconds),
        }),
        database_size_bytes: Some(7),
        ..present(seconds, -10, 1)
    }
}

/// What is known after these observations.
fn after(observations: Vec<Observation>) -> Seen {
    let newest = Newest::default();
    let resource = ResourceId::new();
    for observation in observations {
        newest.record(resource, observation, None);
    }
    newest.get(resource).unwrap()
}

#[test]
fn absence_counts_from_the_first_look_that_saw_it() {
    let seen = after(vec![present(0, -10, 1), absent(10), absent(20)]);
    assert_eq!((seen.since, seen.absent_in_a_row), (at(10), 2));
    let seen = after(vec![present(0, -10, 1), absent(10), present(20, -10, 1)]);
    assert_eq!((seen.since, seen.absent_in_a_row), (at(20), 0));
}

#[test]
fn a_restart_is_told_by_the_look_that_finds_it_even_after_an_absence() {
    let before = present(0, -10, 1);
    let seen = after(vec![before.clone(), absent(10), present(20, 15, 1)]);
    assert_eq!(seen.restarted_from, Some(at(-10)));
    let seen = after(vec![before.clone(), present(20, 15, 1), present(30, 15, 1)]);
    assert_eq!(seen.restarted_from, None);
    assert_eq!(after(vec![absent(0), before]).restarted_from, None);
}

#[test]
fn a_survey_outlives_an_absence() {
    let seen = after(vec![surveyed(0), absent(10)]);
    assert_eq!(seen.survey.unwrap().1, 7);
    let minute = chrono::Duration::minutes(1);
    assert!(!seen.survey_due(at(59), minute));
    assert!(seen.survey_due(at(60), minute));
    assert!(seen.survey_due(at(-1), minute), "the clock was set back");
}

#[test]
fn a_survey_that_failed_is_not_tried_again_at_once() {
    let newest = Newest::default();
    let resource = ResourceId::new();
    newest.record(resource, surveyed(0), None);
    let tried = Tried {
        at: at(60),
        sized_at: None,
    };
    newest.record(resource, present(60, -10, 1), Some(tried));
    let minute = chrono::Duration::minutes(1);
    assert!(!newest.get(resource).unwrap().survey_due(at(119), minute));
    assert!(newest.get(resource).unwrap().survey_due(at(120), minute));
}

#[test]
fn where_the_wal_stood_at_the_last_measurement_is_remembered() {
    let newest = Newest::default();
    let resource = ResourceId::new();
    let lsn = Some(Lsn::from_bytes(1));
    let tried = |at, sized_at| Some(Tried { at, sized_at });
    newest.record(resource, surveyed(0), tried(at(0), lsn));
    newest.record(resource, surveyed(60), tried(at(60), None));
    newest.record(resource, absent(70), None);
    assert_eq!(newest.get(resource).unwrap().sized_at, lsn);
}

#[test]
fn a_stored_observation_is_a_beginning_but_not_news() {
    let newest = Newest::default();
    let resource = ResourceId::new();
    newest.seed(resource, surveyed(0));
    newest.seed(resource, absent(10));
    assert_eq!(newest.get(resource).unwrap().observation, surveyed(0));
    newest.forget(resource);
    assert_eq!(newest.get(resource), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_felt_any_more_is_forgotten() {
    let newest = Newest::default();
    let [old, young] = [ResourceId::new(), ResourceId::new()];
    newest.record(old, absent(0), None);
    tokio::time::advance(Duration::from_mins(1)).await;
    newest.record(young, absent(60), None);
    newest.forget_idle(Duration::from_secs(30));
    assert_eq!(newest.get(old), None);
    assert!(newest.get(young).is_some());
}

#[test]
fn the_wal_stands_since_the_last_look_that_saw_another_position() {
    let seen = after(vec![present(0, 0, 1), present(10, 0, 2), present(20, 0, 2)]);
    assert_eq!(seen.wal, Some((Lsn::from_bytes(2), at(0))));
    let seen = after(vec![present(0, 0, 1), absent(10), present(20, 0, 1)]);
    assert_eq!(seen.wal, Some((Lsn::from_bytes(1), at(0))));
}

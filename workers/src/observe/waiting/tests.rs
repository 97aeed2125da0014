use shared::domain::Outage;

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn observed(seconds: i64, available: bool) -> Observation {
    Observation {
        available,
        ..Observation::absent(at(seconds), Outage::Refused)
    }
}

fn waiting(batch_max: u16, waiting_max: u32) -> Waiting {
    Waiting::new(RecordConfig {
        batch_max,
        waiting_max,
        ..RecordConfig::default()
    })
}

/// Seconds of the samples among observations of one resource.
fn samples(observations: &[(i64, bool)]) -> Vec<i64> {
    let mut waiting = waiting(500, 1000);
    let resource = ResourceId::new();
    for &(seconds, available) in observations {
        waiting.add(resource, &observed(seconds, available));
    }
    let history = waiting.take(Lane::History);
    let second = |(_, sample): &(_, Observation)| (sample.observed_at - at(0)).num_seconds();
    history.iter().map(second).collect()
}

#[test]
fn the_history_has_one_a_minute_and_each_change_of_availability() {
    let steady: Vec<_> = (0..=13).map(|lap| (lap * 10, true)).collect();
    assert_eq!(samples(&steady), [0, 60, 120]);
    let flapping = [(0, true), (1, false), (2, false), (3, true), (4, true)];
    assert_eq!(samples(&flapping), [0, 1, 3]);
    let set_back = [(1000, true), (0, true), (10, true)];
    assert_eq!(samples(&set_back), [1000, 0]);
}

#[test]
fn the_newest_of_each_resource_wins() {
    let mut waiting = waiting(500, 1000);
    let [one, two] = [ResourceId::new(), ResourceId::new()];
    waiting.add(one, &observed(0, true));
    waiting.add(two, &observed(1, true));
    waiting.add(one, &observed(2, true));
    let mut newest = waiting.take(Lane::Newest);
    newest.sort_by_key(|(resource, _)| *resource);
    assert_eq!(newest, [(one, observed(2, true)), (two, observed(1, true))]);
    assert_eq!(waiting.take(Lane::Newest), []);
}

#[test]
fn what_is_given_back_does_not_replace_what_is_newer() {
    let mut waiting = waiting(500, 1000);
    let resource = ResourceId::new();
    waiting.add(resource, &observed(0, true));
    let taken = Lane::ALL.map(|lane| (lane, waiting.take(lane)));
    waiting.add(resource, &observed(1, false));
    for (lane, batch) in taken {
        waiting.give_back(lane, batch);
    }
    let newest = [(resource, observed(1, false))];
    assert_eq!(waiting.take(Lane::Newest), newest);
    let history = [
        (resource, observed(0, true)),
        (resource, observed(1, false)),
    ];
    assert_eq!(waiting.take(Lane::History), history);
}

#[test]
fn a_batch_is_bounded_and_nothing_is_lost_between_two() {
    let mut waiting = waiting(3, 1000);
    for second in 0..8 {
        waiting.add(ResourceId::new(), &observed(second, true));
    }
    assert!(waiting.is_full(Lane::Newest));
    let sizes: Vec<_> = (0..4).map(|_| waiting.take(Lane::Newest).len()).collect();
    assert_eq!(sizes, [3, 3, 2, 0]);
    assert_eq!(waiting.len(Lane::Newest), 0);
}

#[test]
fn too_long_a_history_loses_its_oldest_samples_and_counts_them() {
    let mut waiting = waiting(500, 2);
    let resource = ResourceId::new();
    for second in 0..5 {
        waiting.add(resource, &observed(second, second % 2 == 0));
    }
    assert_eq!(waiting.take_dropped(), 3);
    assert_eq!(waiting.take_dropped(), 0);
    let history = [
        (resource, observed(3, false)),
        (resource, observed(4, true)),
    ];
    assert_eq!(waiting.take(Lane::History), history);
    let newest = [(resource, observed(4, true))];
    assert_eq!(waiting.take(Lane::Newest), newest);
}

#[test]
fn resources_that_are_gone_are_forgotten() {
    let mut waiting = waiting(500, 1000);
    waiting.add(ResourceId::new(), &observed(0, true));
    waiting.add(ResourceId::new(), &observed(3600, true));
    waiting.forget_gone();
    assert_eq!(waiting.sampled.len(), 1);
}

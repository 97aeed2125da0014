mod model;

use super::*;

fn lsn(bytes: u64) -> Lsn {
    Lsn::from_bytes(bytes)
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn timeline(number: u128) -> TimelineId {
    TimelineId::from_uuid(uuid::Uuid::from_u128(number))
}

fn written(epoch: u32, start: u64, watermark: u64, parent: Option<(u32, u64)>) -> Written {
    Written {
        timeline: timeline(1),
        run: Run { epoch, tli: epoch },
        start: lsn(start),
        watermark: lsn(watermark),
        gaps: Vec::new(),
        parent: parent.map(|(epoch, cut)| (timeline(1), epoch, lsn(cut))),
    }
}

fn taken(number: u128, epoch: u32, start: u64, stop: u64, second: i64) -> Taken {
    Taken {
        backup: BackupId::from_uuid(uuid::Uuid::from_u128(number)),
        timeline: timeline(1),
        run: Run { epoch, tli: epoch },
        start_lsn: lsn(start),
        stop_lsn: lsn(stop),
        stopped_at: at(second),
        is_damaged: false,
    }
}

/// Three epochs, of which the first two went on past their cuts; a backup in the first and third.
fn three() -> (Vec<Written>, Vec<Taken>) {
    let epochs = vec![
        written(3, 240, 400, Some((2, 250))),
        written(1, 0, 170, None),
        written(2, 140, 300, Some((1, 150))),
    ];
    (
        epochs,
        vec![taken(1, 1, 20, 30, 30), taken(3, 3, 310, 320, 320)],
    )
}

fn known<'a>(epochs: &'a [Written], backups: &'a [Taken]) -> Known<'a> {
    Known {
        epochs,
        tip: (timeline(1), 3),
        backups,
        complete_until: at(1000),
    }
}

/// The backup and the ends of the legs.
fn way(planned: Result<Plan, Unplannable>) -> Option<(u128, Vec<u64>)> {
    let plan = planned.ok()?;
    let ends = plan.path.iter().map(|leg| leg.end.bytes()).collect();
    Some((plan.backup.backup.as_uuid().as_u128(), ends))
}

#[test]
fn the_newest_backup_before_the_target_is_taken_and_cuts_are_kept_to() {
    let (epochs, backups) = three();
    let known = known(&epochs, &backups);
    let to = |bytes| way(plan(&known, Target::Lsn { lsn: lsn(bytes) }));
    assert_eq!(
        way(plan(&known, Target::End)),
        Some((3, vec![150, 250, 400]))
    );
    assert_eq!(to(400), Some((3, vec![150, 250, 400])));
    assert_eq!(to(320), Some((3, vec![150, 250, 400])));
    assert_eq!(to(319), Some((1, vec![150, 250, 400])));
    assert_eq!(to(250), Some((1, vec![150, 250])));
    assert_eq!(to(151), Some((1, vec![150, 250])));
    assert_eq!(to(30), Some((1, vec![150])));
    let until = |second| way(plan(&known, Target::Time { at: at(second) }));
    assert_eq!(until(319), Some((1, vec![150, 250, 400])));
    assert_eq!(until(320), Some((3, vec![150, 250, 400])));
}

#[test]
fn a_damaged_backup_is_taken_only_if_no_other_serves() {
    let (epochs, mut backups) = three();
    backups[1].is_damaged = true;
    let taken_for = |backups: &[Taken], bytes| {
        let target = Target::Lsn { lsn: lsn(bytes) };
        way(plan(&known(&epochs, backups), target)).map(|(backup, _)| backup)
    };
    assert_eq!(taken_for(&backups, 400), Some(1));
    assert_eq!(taken_for(&backups[1..], 400), Some(3));
}

#[test]
fn a_target_outside_is_refused_with_what_can_be_restored() {
    let (epochs, backups) = three();
    let known = known(&epochs, &backups);
    let refused = |target| plan(&known, target).unwrap_err().to_string();
    let windows = "what can be restored is from 1970-01-01T00:00:30Z (0/1E) to \
                   1970-01-01T00:16:40Z (0/190)";
    assert_eq!(
        refused(Target::Lsn { lsn: lsn(29) }),
        format!("position 0/1D cannot be restored: {windows}")
    );
    assert_eq!(
        refused(Target::Time { at: at(2000) }),
        format!("1970-01-01T00:33:20Z cannot be restored: {windows}")
    );
    assert!(refused(Target::Lsn { lsn: lsn(401) }).contains(windows));
    assert!(refused(Target::Time { at: at(29) }).contains(windows));
    let none = Known {
        backups: &[],
        ..known
    };
    assert_eq!(
        plan(&none, Target::End).unwrap_err().to_string(),
        "the end cannot be restored: there is no backup that can be restored yet"
    );
}

#[test]
fn a_gap_makes_two_windows() {
    let (mut epochs, backups) = three();
    epochs[0].gaps = vec![lsn(280)..lsn(300)];
    let known = known(&epochs, &backups);
    let found = windows(&known).unwrap();
    let ends: Vec<_> = found
        .0
        .iter()
        .map(|window| (window.to_lsn, window.to))
        .collect();
    assert_eq!(ends, [(lsn(280), None), (lsn(400), Some(at(1000)))]);
    assert!(
        found
            .to_string()
            .contains("(0/1E) to position 0/118, behind which WAL is missing, and")
    );
    let to = |bytes| way(plan(&known, Target::Lsn { lsn: lsn(bytes) }));
    assert_eq!(to(280), Some((1, vec![150, 250, 280])));
    assert_eq!(to(281), None);
    assert_eq!(to(319), None);
    assert_eq!(
        way(plan(&known, Target::End)),
        Some((3, vec![150, 250, 400]))
    );
}

#[test]
fn what_a_parent_lacks_before_its_cut_is_a_hole_unless_the_next_epoch_has_it() {
    let (mut epochs, backups) = three();
    let end = |epochs: &[Written]| way(plan(&known(epochs, &backups[..1]), Target::End));
    epochs[1].watermark = lsn(140);
    assert!(end(&epochs).is_some());
    epochs[1].watermark = lsn(139);
    assert_eq!(end(&epochs), None);
}

#[test]
fn a_backup_that_was_still_running_at_the_cut_is_of_another_history() {
    let (epochs, _) = three();
    let backups = [taken(1, 1, 20, 151, 30)];
    assert!(plan(&known(&epochs, &backups), Target::End).is_err());
}

#[test]
fn a_fork_begins_with_its_parent() {
    let (mut epochs, backups) = three();
    epochs.push(Written {
        timeline: timeline(2),
        run: Run { epoch: 1, tli: 3 },
        start: lsn(150),
        watermark: lsn(180),
        gaps: Vec::new(),
        parent: Some((timeline(1), 2, lsn(160))),
    });
    let known = Known {
        tip: (timeline(2), 1),
        ..known(&epochs, &backups)
    };
    let plan = plan(&known, Target::End).unwrap();
    let legs: Vec<_> = plan
        .path
        .iter()
        .map(|leg| (leg.timeline, leg.end.bytes()))
        .collect();
    assert_eq!(
        legs,
        [(timeline(1), 150), (timeline(1), 160), (timeline(2), 180)]
    );
}

#[test]
fn epochs_that_make_no_line_are_found_out() {
    let circle = [
        written(1, 0, 10, Some((2, 5))),
        written(2, 0, 10, Some((1, 5))),
    ];
    let tip = |epochs| {
        plan(
            &Known {
                epochs,
                tip: (timeline(1), 2),
                backups: &[],
                complete_until: at(0),
            },
            Target::End,
        )
    };
    let circle = tip(&circle).unwrap_err();
    assert!(circle.to_string().contains("comes from itself"), "{circle}");
    let absent = tip(&[written(2, 0, 10, Some((1, 5)))]).unwrap_err();
    assert_eq!(
        absent,
        Unplannable::Broken(BrokenLine::Absent {
            timeline: timeline(1),
            number: 1
        })
    );
}

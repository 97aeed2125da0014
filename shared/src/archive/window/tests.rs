use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Bytes of a segment in these tests.
const SEGMENT: u64 = 16;

fn at(bytes: u64) -> Lsn {
    Lsn::from_bytes(bytes)
}

fn second(second: u64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + std::time::Duration::from_secs(second)
}

fn span(number: u32, parent: Option<(u32, u64)>, kept_from: u64, watermark: u64) -> Span {
    Span {
        number,
        parent: parent.map(|(epoch, cut)| Parent {
            timeline: crate::ids::TimelineId::from_uuid(uuid::Uuid::nil()),
            epoch,
            cut: at(cut),
        }),
        kept_from: at(kept_from),
        watermark: at(watermark),
        complete_until: Some(second(watermark)),
        holes: Vec::new(),
    }
}

fn with_hole(mut span: Span, from: u64, to: u64) -> Span {
    span.holes.push(Hole {
        from: at(from),
        to: at(to),
        reached_at: Some(second(from)),
    });
    span
}

fn base(epoch: u32, start: u64, stop: u64) -> Base {
    Base {
        epoch,
        start: at(start),
        stop: at(stop),
        stopped_at: second(stop),
    }
}

#[track_caller]
fn check(epochs: &[Span], bases: &[Base], expected: &[(u64, u64)]) {
    let found: Vec<_> = windows(epochs, bases)
        .iter()
        .map(|window| {
            assert_eq!(window.from_at, second(window.from.bytes()));
            (window.from.bytes(), window.to.bytes())
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn without_a_backup_nothing_can_be_restored() {
    check(&[], &[], &[]);
    check(&[span(1, None, 16, 100)], &[], &[]);
}

#[test]
fn a_window_begins_where_the_first_backup_is_consistent() {
    let epochs = [span(1, None, 16, 100)];
    check(&epochs, &[base(1, 60, 70), base(1, 20, 30)], &[(30, 100)]);
    check(&epochs, &[base(1, 90, 101)], &[]);
}

#[test]
fn a_gap_makes_two_windows() {
    let epochs = [with_hole(span(1, None, 16, 200), 50, 96)];
    let before = base(1, 20, 30);
    check(&epochs, &[before], &[(30, 50)]);
    check(
        &epochs,
        &[before, base(1, 100, 110)],
        &[(30, 50), (110, 200)],
    );
    check(&epochs, &[base(1, 40, 60)], &[]);
}

#[test]
fn what_is_not_kept_cannot_be_restored() {
    let epochs = [span(1, None, 48, 100)];
    check(&epochs, &[base(1, 20, 30), base(1, 50, 55)], &[(55, 100)]);
}

#[test]
fn a_history_goes_on_across_a_promotion_and_leaves_what_was_cut_off() {
    let epochs = [
        span(1, None, 16, 120),
        span(2, Some((1, 90)), 80, 150),
        span(3, Some((2, 140)), 128, 160),
    ];
    check(&epochs, &[base(1, 20, 30)], &[(30, 160)]);
    check(&epochs, &[base(1, 80, 95)], &[]);
    check(&epochs, &[base(2, 100, 145)], &[]);
    check(&epochs, &[base(3, 141, 150)], &[(150, 160)]);
}

#[test]
fn an_archive_that_was_behind_at_a_promotion_ends_there() {
    // The next epoch has the WAL from the start of the segment of the cut: that is enough.
    let enough = [span(1, None, 16, 85), span(2, Some((1, 90)), 80, 150)];
    check(&enough, &[base(1, 20, 30)], &[(30, 150)]);
    let behind = [span(1, None, 16, 70), span(2, Some((1, 90)), 80, 150)];
    check(&behind, &[base(1, 20, 30)], &[(30, 70)]);
}

#[test]
fn the_moment_of_an_end_is_that_of_its_stretch() {
    let epochs = [with_hole(span(1, None, 16, 200), 50, 96)];
    let found = windows(&epochs, &[base(1, 20, 30), base(1, 100, 110)]);
    let ends: Vec<_> = found.iter().map(|window| window.to_at).collect();
    assert_eq!(ends, [Some(second(50)), Some(second(200))]);
    // A push that has not drained since the backup ended knows nothing of its moments.
    let mut behind = epochs;
    behind[0].complete_until = Some(second(109));
    let found = windows(&behind, &[base(1, 100, 110)]);
    assert_eq!((found[0].to, found[0].to_at), (at(200), None));
}

/// A chain of epochs as promotions make them, with holes.
fn epochs() -> impl Strategy<Value = Vec<Span>> {
    let one = (0u64..6, 0u64..40, vec((0u64..60, 1u64..3), 0..3), 0u64..4);
    vec(one, 1..4).prop_map(|shapes| {
        let mut spans: Vec<Span> = Vec::new();
        for (back, length, holes, trimmed) in shapes {
            let number = u32::try_from(spans.len()).unwrap() + 1;
            let last = spans.last();
            let cut = last.map(|last| {
                let least = last.kept_from.bytes();
                last.watermark.bytes().saturating_sub(back).max(least)
            });
            let start = cut.map_or(SEGMENT, |cut| cut - cut % SEGMENT);
            let watermark = cut.unwrap_or(start) + length;
            let kept_from = if cut.is_none() {
                (start + trimmed * SEGMENT).min(watermark - watermark % SEGMENT)
            } else {
                start
            };
            let parent = cut.map(|cut| (number - 1, cut));
            let mut made = span(number, parent, kept_from, watermark);
            let mut from = start;
            for (skip, segments) in holes {
                let begin = from + skip;
                let end = (begin / SEGMENT + segments) * SEGMENT;
                if end > begin && end <= watermark {
                    made = with_hole(made, begin, end);
                    from = end;
                }
            }
            spans.push(made);
        }
        spans
    })
}

/// Where the history left an epoch, or one that it went on to.
fn left_at(epochs: &[Span], number: u32) -> u64 {
    let later = epochs.iter().filter(|span| span.number > number);
    let cuts = later.filter_map(|span| span.parent.map(|parent| parent.cut.bytes()));
    cuts.min().unwrap_or(u64::MAX)
}

/// Whether the archive has one byte of the history at `byte`, in any epoch that is a part of it.
fn is_there(epochs: &[Span], byte: u64) -> bool {
    epochs.iter().any(|span| {
        byte >= span.kept_from.bytes()
            && byte < span.watermark.bytes().min(left_at(epochs, span.number))
            && !span
                .holes
                .iter()
                .any(|hole| byte >= hole.from.bytes() && byte < hole.to.bytes())
    })
}

fn can_be_restored(epochs: &[Span], bases: &[Base], target: u64) -> bool {
    bases.iter().any(|base| {
        let is_cut_off = base.stop.bytes() > left_at(epochs, base.epoch);
        let exists = epochs.iter().any(|span| span.number == base.epoch);
        exists
            && !is_cut_off
            && target >= base.stop.bytes()
            && (base.start.bytes()..target).all(|byte| is_there(epochs, byte))
    })
}

proptest! {
    #[test]
    fn windows_hold_exactly_what_can_be_restored(
        epochs in epochs(),
        bases in vec((1u32..5, 0u64..160, 1u64..20), 0..5),
    ) {
        // A backup is made while its epoch is the newest one: behind the cut of its parent.
        let bases: Vec<Base> = bases
            .into_iter()
            .filter_map(|(epoch, start, length)| {
                let own = epochs.iter().find(|span| span.number == epoch)?;
                let least = own.parent.map_or(0, |parent| parent.cut.bytes());
                (start >= least).then(|| base(epoch, start, start + length))
            })
            .collect();
        let found = windows(&epochs, &bases);
        for target in 0..200 {
            let shown = found
                .iter()
                .any(|window| (window.from.bytes()..=window.to.bytes()).contains(&target));
            prop_assert_eq!(
                shown,
                can_be_restored(&epochs, &bases, target),
                "{} {:#?} {:#?} {:#?}", target, epochs, bases, found
            );
        }
    }
}

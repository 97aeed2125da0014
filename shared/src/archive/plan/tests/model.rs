//! Plans compared with a history that is known byte by byte.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Bytes of a segment of the model: epochs begin at multiples of it.
const SEGMENT: u64 = 8;

#[derive(Debug, Clone)]
struct Step {
    /// How far this epoch lives.
    length: u64,
    /// How far the archive went on, past the cut or not up to it.
    watermark: i64,
    gap: Option<(u64, u64)>,
    backups: Vec<(u64, u64)>,
}

fn step() -> impl Strategy<Value = Step> {
    let gap = prop::option::weighted(0.3, (0u64..40, 1u64..10));
    let backups = prop::collection::vec((0u64..40, 1u64..10), 0..3);
    (1u64..40, -12i64..12, gap, backups).prop_map(|(length, watermark, gap, backups)| Step {
        length,
        watermark,
        gap,
        backups,
    })
}

/// A history: its epochs and backups, and for each epoch the bytes that the archive has.
struct History {
    epochs: Vec<Written>,
    backups: Vec<Taken>,
    bytes: Vec<BTreeSet<u64>>,
    ends: Vec<u64>,
}

/// Bytes are seconds: position 17 is written at second 17.
fn history(steps: &[Step]) -> History {
    let mut made = History {
        epochs: Vec::new(),
        backups: Vec::new(),
        bytes: Vec::new(),
        ends: Vec::new(),
    };
    let mut cut = 0u64;
    for (index, step) in steps.iter().enumerate() {
        let epoch = u32::try_from(index).unwrap() + 1;
        let start = cut - cut % SEGMENT;
        let end = cut + step.length;
        let is_tip = index + 1 == steps.len();
        let watermark = if is_tip {
            end
        } else {
            end.saturating_add_signed(step.watermark)
        };
        let watermark = watermark.max(start);
        let gap = step.gap.map(|(from, length)| {
            let from = (start + from).min(watermark);
            lsn(from)..lsn((from + length).min(watermark))
        });
        let gaps: Vec<_> = gap.into_iter().filter(|gap| gap.start < gap.end).collect();
        let has =
            (start..watermark).filter(|byte| !gaps.iter().any(|gap| gap.contains(&lsn(*byte))));
        made.bytes.push(has.collect());
        made.epochs.push(Written {
            gaps,
            ..written(
                epoch,
                start,
                watermark,
                (index > 0).then_some((epoch - 1, cut)),
            )
        });
        for (offset, length) in &step.backups {
            let (from, to) = (cut + offset, cut + offset + length);
            if to <= end {
                let number = u128::try_from(made.backups.len()).unwrap();
                let second = i64::try_from(to).unwrap();
                made.backups.push(taken(number, epoch, from, to, second));
            }
        }
        made.ends.push(end);
        cut = end;
    }
    made
}

impl History {
    fn known(&self) -> Known<'_> {
        Known {
            epochs: &self.epochs,
            tip: (timeline(1), u32::try_from(self.epochs.len()).unwrap()),
            backups: &self.backups,
            complete_until: at(i64::try_from(*self.ends.last().unwrap()).unwrap()),
        }
    }

    /// The leg that a position is a target on.
    fn leg_of(&self, to: u64) -> usize {
        self.ends.iter().position(|end| to <= *end).unwrap()
    }

    /// Whether a backup reaches a position without a missing byte. Each byte is read from the
    /// newest epoch up to the last that has begun before it, and segments are read whole.
    fn serves(&self, backup: &Taken, to: u64) -> bool {
        let last = self.leg_of(to);
        let own = usize::try_from(backup.run.epoch).unwrap() - 1;
        let begins = |leg: usize| self.epochs[leg].start.bytes();
        let later = (own + 1..=last).map(begins).filter(|start| *start < to);
        let from = later
            .min()
            .unwrap_or(u64::MAX)
            .min(backup.start_lsn.bytes());
        let has = |byte: u64| {
            let newest = (own..=last).rfind(|leg| *leg == own || begins(*leg) <= byte);
            self.bytes[newest.unwrap()].contains(&byte)
        };
        let is_behind = (own, backup.stop_lsn.bytes()) <= (last, to);
        is_behind && (from..to).all(has)
    }
}

proptest! {
    #[test]
    fn exactly_what_the_archive_has_without_a_hole_is_planned(
        steps in prop::collection::vec(step(), 1..5),
        target in 0u64..200,
    ) {
        let history = history(&steps);
        let end = *history.ends.last().unwrap();
        let target = target.min(end + 3);
        let planned = plan(&history.known(), Target::Lsn { lsn: lsn(target) });
        let serving = history.backups.iter().filter(|backup| {
            target <= end && history.serves(backup, target)
        });
        let newest = serving.map(|backup| backup.stop_lsn).max();
        prop_assert_eq!(planned.as_ref().ok().map(|plan| plan.backup.stop_lsn), newest);
        let Ok(plan) = planned else { return Ok(()); };
        let path: Vec<u64> = plan.path.iter().map(|leg| leg.end.bytes()).collect();
        let (last, before) = path.split_last().unwrap();
        prop_assert_eq!(before, &history.ends[..before.len()]);
        prop_assert!(target <= *last && *last <= history.ends[before.len()]);
        if *last > history.ends.get(before.len().wrapping_sub(1)).copied().unwrap_or(0) {
            prop_assert!(history.serves(&plan.backup, *last));
        }
    }

    #[test]
    fn windows_are_what_can_be_planned(
        steps in prop::collection::vec(step(), 1..5),
        target in 0u64..200,
    ) {
        let history = history(&steps);
        let known = history.known();
        let found = windows(&known).unwrap();
        let is_inside = found.0.iter().any(|window| {
            (window.from_lsn..=window.to_lsn).contains(&lsn(target))
        });
        let is_planned = plan(&known, Target::Lsn { lsn: lsn(target) }).is_ok();
        // Of the segment that a later epoch began in, its own run may lack the end.
        let is_at_a_cut = history.epochs.iter().any(|epoch| {
            let cut = epoch.parent.map(|(_, _, cut)| cut.bytes());
            cut.is_some_and(|cut| (epoch.start.bytes()..=cut).contains(&target))
        });
        prop_assert!(is_planned == is_inside || is_at_a_cut, "{is_planned} {is_inside}");
        let ends_at_tip = found.0.last().is_some_and(|window| window.to.is_some());
        prop_assert_eq!(plan(&known, Target::End).is_ok(), ends_at_tip);
    }
}

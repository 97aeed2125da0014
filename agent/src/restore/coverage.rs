//! Which objects of WAL are known, and which are asked for.

use std::collections::BTreeMap;
use std::ops::Range;

use shared::agent_api::restore::{Leg, WalObject, WalReads, WantedWal};
use shared::archive::way::Segment;
use shared::units::Lsn;

/// The objects of one leg within a range, and who waits for more.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    known: Option<Known>,
    /// Segments whose objects are not all known, in the order in which they are read.
    waiting: BTreeMap<Segment, (Leg, Range<Lsn>)>,
}

/// All objects of a leg that begin within a range.
#[derive(Debug)]
struct Known {
    leg: Leg,
    range: Range<Lsn>,
    objects: BTreeMap<Lsn, WalObject>,
}

impl Coverage {
    /// What is to be asked for: what the first one waits for, from where it is not known on.
    pub(super) fn wanted(&self) -> Option<WantedWal> {
        let (leg, range) = self.waiting.values().next()?;
        let known = self
            .known
            .as_ref()
            .filter(|known| known.leads_into(leg, range));
        Some(WantedWal {
            timeline: leg.timeline,
            run: leg.run,
            from: known.map_or(range.start, |known| known.range.end),
            end: leg.end,
        })
    }

    /// Takes objects, if they are those that are asked for.
    pub(super) fn bring(&mut self, reads: WalReads) {
        let Some(wanted) = self.wanted() else {
            return;
        };
        let is_wanted = (reads.timeline, reads.run) == (wanted.timeline, wanted.run)
            && reads.from <= wanted.from
            && reads.until > wanted.from;
        let Some((leg, range)) = self.waiting.values().next().filter(|_| is_wanted) else {
            return;
        };
        let brought = reads
            .objects
            .into_iter()
            .map(|object| (object.start, object));
        let known = self
            .known
            .take()
            .filter(|known| known.leads_into(leg, range));
        let (from, mut objects) = match known {
            // What was read before the first one that waits is not needed any more.
            Some(mut known) => (range.start, known.objects.split_off(&range.start)),
            None => (reads.from, BTreeMap::new()),
        };
        objects.retain(|start, _| *start < reads.from);
        objects.extend(brought);
        self.known = Some(Known {
            leg: *leg,
            range: from..reads.until,
            objects,
        });
    }

    /// The objects that begin within the range of a segment; none if not all of them are known. It
    /// waits for them then.
    pub(super) fn objects(
        &mut self,
        segment: Segment,
        leg: &Leg,
        range: &Range<Lsn>,
    ) -> Option<Vec<WalObject>> {
        let known = self.known.as_ref().filter(|known| {
            known.leg == *leg && known.range.start <= range.start && range.end <= known.range.end
        });
        let Some(known) = known else {
            self.waiting.insert(segment, (*leg, range.clone()));
            return None;
        };
        self.waiting.remove(&segment);
        let objects = known.objects.range(range.clone());
        Some(objects.map(|(_, object)| object.clone()).collect())
    }

    /// Forgets what is known of a leg from `start` on: it has changed, or can no longer be read.
    pub(super) fn forget_from(&mut self, leg: &Leg, start: Lsn) {
        self.known = self.known.take().and_then(|mut known| {
            if known.leg != *leg || start >= known.range.end {
                return Some(known);
            }
            known.objects.retain(|object, _| *object < start);
            known.range.end = start;
            (known.range.start < start).then_some(known)
        });
    }

    /// Nobody waits any more.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }
}

impl Known {
    /// Whether it has the beginning of a range, or ends where that begins.
    fn leads_into(&self, leg: &Leg, range: &Range<Lsn>) -> bool {
        self.leg == *leg && self.range.start <= range.start && range.start <= self.range.end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::agent_api::wal::Signed;
    use shared::archive::layout::Run;
    use shared::ids::TimelineId;
    use shared::secret::Secret;

    use super::*;

    const LEG: Leg = Leg {
        timeline: TimelineId::from_uuid(uuid::Uuid::from_u128(1)),
        run: Run { epoch: 1, tli: 1 },
        end: at(95),
    };

    const fn at(bytes: u64) -> Lsn {
        Lsn::from_bytes(bytes)
    }

    fn reads(from: u64, until: u64, starts: &[u64]) -> WalReads {
        let object = |start: &u64| WalObject {
            start: at(*start),
            is_segment: false,
            get: Signed {
                url: Secret::new("http://archive"),
                headers: BTreeMap::new(),
                look_first: None,
            },
        };
        WalReads {
            timeline: LEG.timeline,
            run: LEG.run,
            from: at(from),
            until: at(until),
            objects: starts.iter().map(object).collect(),
        }
    }

    fn ask(coverage: &mut Coverage, start: u64) -> Option<Vec<u64>> {
        let segment = Segment {
            leg: 0,
            start: at(start),
        };
        let range = at(start)..at(start + 10).min(LEG.end);
        let found = coverage.objects(segment, &LEG, &range)?;
        Some(found.iter().map(|object| object.start.bytes()).collect())
    }

    fn wanted(coverage: &Coverage) -> Option<u64> {
        coverage.wanted().map(|wanted| wanted.from.bytes())
    }

    #[test]
    fn what_is_brought_in_pieces_is_put_together() {
        let mut coverage = Coverage::default();
        assert_eq!(wanted(&coverage), None);
        assert_eq!(ask(&mut coverage, 20), None);
        assert_eq!(ask(&mut coverage, 10), None);
        assert_eq!(wanted(&coverage), Some(10));
        coverage.bring(reads(10, 15, &[10, 12]));
        assert_eq!(ask(&mut coverage, 10), None);
        assert_eq!(wanted(&coverage), Some(15));
        coverage.bring(reads(15, 25, &[15, 20]));
        assert_eq!(ask(&mut coverage, 10), Some(vec![10, 12, 15]));
        assert_eq!(wanted(&coverage), Some(25));
        coverage.bring(reads(25, 95, &[90]));
        assert_eq!(ask(&mut coverage, 20), Some(vec![20]));
        assert_eq!(ask(&mut coverage, 90), Some(vec![90]));
        assert_eq!(wanted(&coverage), None);
    }

    #[test]
    fn what_nobody_asked_for_changes_nothing() {
        let mut coverage = Coverage::default();
        coverage.bring(reads(0, 95, &[0]));
        assert_eq!(ask(&mut coverage, 10), None);
        coverage.bring(reads(20, 95, &[20]));
        coverage.bring(reads(0, 10, &[0]));
        let mut other = reads(10, 95, &[10]);
        other.run.epoch = 2;
        coverage.bring(other);
        assert_eq!(ask(&mut coverage, 10), None);
        assert_eq!(wanted(&coverage), Some(10));
    }

    #[test]
    fn what_can_no_longer_be_read_is_asked_for_again() {
        let mut coverage = Coverage::default();
        ask(&mut coverage, 10);
        coverage.bring(reads(10, 95, &[10, 20, 30]));
        ask(&mut coverage, 10);
        coverage.forget_from(&LEG, at(20));
        assert_eq!(ask(&mut coverage, 10), Some(vec![10]));
        assert_eq!(ask(&mut coverage, 20), None);
        assert_eq!(wanted(&coverage), Some(20));
        coverage.forget_from(&LEG, at(10));
        assert_eq!(ask(&mut coverage, 10), None);
        assert_eq!(wanted(&coverage), Some(10));
        coverage.forget_waiting();
        assert_eq!(wanted(&coverage), None);
    }
}

//! Racing pushers against a store that keeps one object for each name, with everything going wrong
//! that may: the watermark is never beyond what is stored without a hole, and never goes back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens next.
#[derive(Debug, Clone)]
enum Act {
    /// PostgreSQL flushes this many bytes.
    Write(u64),
    /// A pusher loads the watermark and how far the last one saw WAL flushed.
    Load { pusher: usize },
    /// A pusher has its places filled; `fates` say how each upload goes.
    Push {
        pusher: usize,
        chunk_bytes_max: u64,
        fates: Vec<Fate>,
    },
    /// A pusher records what its last push found out, by compare-and-set.
    Record { pusher: usize },
    /// A pusher dies and forgets everything.
    Die { pusher: usize },
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Works,
    /// It is stored, but the answer is lost.
    StoredUnseen,
    Fails,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    watermark: Lsn,
    flush: Lsn,
}

struct World {
    epoch: EpochRecord,
    flush: Lsn,
    /// Start to end of every object.
    store: BTreeMap<Lsn, Lsn>,
    row: Row,
    loaded: [Option<Row>; 3],
    found: [Option<(Row, Row)>; 3],
}

impl World {
    fn new(segment_bytes: u32) -> Self {
        let epoch = epoch(segment_bytes);
        let row = Row {
            watermark: epoch.start,
            flush: epoch.start,
        };
        Self {
            flush: epoch.start,
            epoch,
            store: BTreeMap::new(),
            row,
            loaded: [None; 3],
            found: [None; 3],
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Write(bytes) => self.flush = at(self.flush.bytes() + bytes),
            Act::Load { pusher } => self.loaded[*pusher] = Some(self.row),
            Act::Push {
                pusher,
                chunk_bytes_max,
                fates,
            } => {
                if let Some(row) = self.loaded[*pusher] {
                    self.found[*pusher] = Some((row, self.push(row, *chunk_bytes_max, fates)));
                }
            }
            Act::Record { pusher } => {
                if let Some((loaded, found)) = self.found[*pusher].take()
                    && loaded.watermark == self.row.watermark
                {
                    self.row = found;
                }
            }
            Act::Die { pusher } => {
                self.loaded[*pusher] = None;
                self.found[*pusher] = None;
            }
        }
    }

    /// What agent and store do with the places of a push.
    fn push(&mut self, row: Row, chunk_bytes_max: u64, fates: &[Fate]) -> Row {
        let cut = Cut {
            segment_bytes: self.epoch.segment_bytes,
            chunk_bytes_max,
            places_max: 5,
        };
        let places = places(row.watermark, row.flush, &cut);
        let mut outcomes = Vec::new();
        for (number, place) in places.iter().enumerate() {
            if place.start >= self.flush {
                break;
            }
            let fate = fates.get(number).copied().unwrap_or(Fate::Works);
            outcomes.push(self.fill(place, fate));
        }
        let advanced = advance(row.watermark, cut.segment_bytes, &places, &outcomes);
        Row {
            watermark: advanced.watermark,
            flush: self.flush,
        }
    }

    fn fill(&mut self, place: &Range<Lsn>, fate: Fate) -> Placed {
        let unfinished = Placed::Unfinished;
        if matches!(fate, Fate::Fails) {
            return unfinished;
        }
        let end = place.end.min(self.flush);
        let there = self.store.get(&place.start).copied();
        let end = *self.store.entry(place.start).or_insert(end);
        match (fate, there) {
            (Fate::StoredUnseen, _) => unfinished,
            (_, Some(end)) => Placed::Adopted { end },
            (_, None) => Placed::Stored {
                end,
                object_bytes: 1,
            },
        }
    }

    /// Every joint of the chain, found from the objects alone.
    fn joints(&self) -> Vec<Lsn> {
        let mut walk = Walk::new(&self.epoch);
        let mut joints = vec![walk.at()];
        while let Some(end) = self.store.get(&walk.at()) {
            walk.over(&object(&self.epoch, walk.at(), *end)).unwrap();
            joints.push(walk.at());
        }
        joints
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let pusher = 0..3_usize;
    let fate = prop_oneof![
        4 => Just(Fate::Works),
        1 => Just(Fate::StoredUnseen),
        1 => Just(Fate::Fails),
    ];
    let act = prop_oneof![
        3 => (0..6 * MIB).prop_map(Act::Write),
        4 => pusher.clone().prop_map(|pusher| Act::Load { pusher }),
        5 => (pusher.clone(), 1..4 * MIB, proptest::collection::vec(fate, 0..5)).prop_map(
            |(pusher, chunk_bytes_max, fates)| Act::Push { pusher, chunk_bytes_max, fates },
        ),
        5 => pusher.clone().prop_map(|pusher| Act::Record { pusher }),
        1 => pusher.prop_map(|pusher| Act::Die { pusher }),
    ];
    proptest::collection::vec(act, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_watermark_is_a_joint_of_the_chain_and_never_goes_back(
        exponent in 20..27_u32,
        acts in acts(),
    ) {
        let mut world = World::new(1 << exponent);
        for act in &acts {
            let before = world.row.watermark;
            world.act(act);
            prop_assert!(world.row.watermark >= before, "it went back after {act:?}");
            let joints = world.joints();
            prop_assert!(
                joints.contains(&world.row.watermark),
                "{:?} is no joint of {joints:?} after {act:?}", world.row.watermark
            );
        }
        // Without faults, whoever pushes alone drains what is left, whatever was left behind.
        for _ in 0..2000 {
            if world.row.watermark == world.flush {
                break;
            }
            world.row = world.push(world.row, 4 << 20, &[]);
        }
        prop_assert_eq!(world.row.watermark, world.flush);
        prop_assert!(world.joints().contains(&world.flush));
    }
}

mod model;

use super::*;
use crate::archive::epoch::EpochRecord;
use crate::archive::frame::{Content, Metadata};
use crate::ids::{ParticipantId, TimelineId};

const MIB: u64 = 1 << 20;

const CUT: Cut = Cut {
    segment_bytes: 16 << 20,
    chunk_bytes_max: 16 << 20,
    places_max: 4,
};

fn at(bytes: u64) -> Lsn {
    Lsn::from_bytes(bytes)
}

fn stored(end: u64) -> Placed {
    Placed::Stored {
        end: at(end),
        object_bytes: 1,
    }
}

#[track_caller]
fn check_places(watermark: u64, flush: u64, expected: &[(u64, u64)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(from, to)| at(*from)..at(*to))
        .collect();
    assert_eq!(places(at(watermark), at(flush), &CUT), expected);
}

#[test]
fn an_idle_database_gets_one_place_up_to_the_end_of_its_segment() {
    check_places(17 * MIB, 17 * MIB, &[(17 * MIB, 32 * MIB)]);
    check_places(32 * MIB, 20 * MIB, &[(32 * MIB, 48 * MIB)]);
}

#[test]
fn a_backlog_gets_as_many_places_as_it_needs_and_one_more_but_no_more_than_allowed() {
    let (first, second, third) = (
        (17 * MIB, 32 * MIB),
        (32 * MIB, 48 * MIB),
        (48 * MIB, 64 * MIB),
    );
    check_places(17 * MIB, 18 * MIB, &[first, second]);
    check_places(17 * MIB, 33 * MIB, &[first, second, third]);
    assert_eq!(places(at(0), at(1 << 40), &CUT).len(), 4);
}

#[test]
fn large_segments_are_cut_into_several_chunks() {
    let cut = Cut {
        segment_bytes: 64 << 20,
        ..CUT
    };
    let ends: Vec<_> = places(at(60 * MIB), at(81 * MIB), &cut)
        .iter()
        .map(|place| place.end.bytes() / MIB)
        .collect();
    assert_eq!(ends, [64, 80, 96, 112]);
}

#[track_caller]
fn check_advance(outcomes: &[Placed], watermark: u64, stop: &Stop) {
    let places = [
        at(17 * MIB)..at(32 * MIB),
        at(32 * MIB)..at(48 * MIB),
        at(48 * MIB)..at(64 * MIB),
    ];
    let advanced = advance(at(17 * MIB), 16 << 20, &places, outcomes);
    assert_eq!(advanced.watermark, at(watermark), "{advanced:?}");
    assert_eq!(advanced.stop, *stop);
    assert_eq!(advanced.last.is_some(), watermark > 17 * MIB);
}

#[test]
fn the_watermark_is_the_end_of_the_unbroken_chain() {
    check_advance(&[], 17 * MIB, &Stop::End);
    check_advance(&[stored(20 * MIB)], 20 * MIB, &Stop::End);
    check_advance(
        &[stored(32 * MIB), stored(48 * MIB), stored(50 * MIB)],
        50 * MIB,
        &Stop::End,
    );
    let failed = Placed::Failed {
        detail: "503".to_owned(),
    };
    check_advance(
        &[stored(32 * MIB), failed.clone(), stored(50 * MIB)],
        32 * MIB,
        &Stop::Failed("503".to_owned()),
    );
    check_advance(&[Placed::Unfinished, failed], 17 * MIB, &Stop::Unfinished);
    check_advance(
        &[stored(32 * MIB), Placed::Missing],
        32 * MIB,
        &Stop::Missing,
    );
}

#[test]
fn the_last_object_is_the_one_that_ends_at_the_watermark() {
    let places = [
        at(17 * MIB)..at(32 * MIB),
        at(32 * MIB)..at(48 * MIB),
        at(48 * MIB)..at(64 * MIB),
    ];
    let last = |outcomes: &[Placed]| advance(at(17 * MIB), 16 << 20, &places, outcomes).last;
    assert_eq!(last(&[stored(32 * MIB)]), Some(at(17 * MIB)));
    let adopted = Placed::Adopted { end: at(20 * MIB) };
    assert_eq!(last(&[adopted, stored(48 * MIB)]), Some(at(17 * MIB)));
    let all = [stored(32 * MIB), stored(48 * MIB), Placed::Unfinished];
    assert_eq!(last(&all), Some(at(32 * MIB)));
}

#[test]
fn what_was_adopted_ends_where_it_ends() {
    let adopted = |end| Placed::Adopted { end: at(end) };
    check_advance(&[adopted(18 * MIB), stored(48 * MIB)], 18 * MIB, &Stop::End);
    check_advance(&[adopted(32 * MIB), stored(40 * MIB)], 40 * MIB, &Stop::End);
}

#[test]
fn a_conflict_stops_the_watermark_before_it() {
    let conflict = Placed::Conflict {
        detail: "byte 7".to_owned(),
    };
    let stop = Stop::Conflict("byte 7".to_owned());
    check_advance(&[conflict.clone(), stored(48 * MIB)], 17 * MIB, &stop);
    check_advance(&[stored(32 * MIB), conflict], 32 * MIB, &stop);
}

#[test]
fn an_answer_that_cannot_be_moves_nothing() {
    for end in [0, 17 * MIB, 33 * MIB] {
        check_advance(&[stored(end)], 17 * MIB, &Stop::Impossible(at(end)));
        let adopted = Placed::Adopted { end: at(end) };
        check_advance(&[adopted], 17 * MIB, &Stop::Impossible(at(end)));
    }
}

fn compaction(watermark: u64, starts: &[u64], is_cut_off: bool) -> Compaction {
    let starts: Vec<_> = starts.iter().map(|start| at(*start * MIB)).collect();
    let listing = Listing {
        starts: &starts,
        is_cut_off,
    };
    Compaction::of(at(16 * MIB), at(watermark * MIB), 16 << 20, listing, 2)
}

#[track_caller]
fn check_compaction(watermark: u64, starts: &[u64], segments: &[u64], compacted: u64) {
    let compaction = compaction(watermark, starts, false);
    let found: Vec<_> = compaction
        .segments()
        .map(|segment| segment.start.bytes() / MIB)
        .collect();
    assert_eq!(found, segments);
    assert_eq!(
        compacted_after(at(16 * MIB), &compaction, &[]),
        at(compacted * MIB)
    );
}

#[test]
fn only_whole_segments_below_the_watermark_that_are_in_parts_are_put_together() {
    check_compaction(31, &[16, 20], &[], 16);
    check_compaction(32, &[16, 20], &[16], 16);
    check_compaction(49, &[16, 32, 48], &[], 48);
    check_compaction(49, &[16, 32, 33, 48], &[32], 32);
    check_compaction(200, &[16, 17, 32, 48, 49, 64, 65, 80, 81], &[16, 48], 16);
}

#[test]
fn a_listing_that_was_cut_off_proves_nothing_about_what_it_does_not_show() {
    assert_eq!(compaction(64, &[16, 32], true).segments().count(), 0);
    let cut_off = compaction(64, &[16, 32, 33], true);
    assert_eq!(cut_off.segments().count(), 1);
    assert_eq!(
        compacted_after(at(16 * MIB), &cut_off, &[stored(48 * MIB)]),
        at(48 * MIB)
    );
}

#[test]
fn compacted_goes_over_what_is_whole_or_lost_and_stops_at_the_rest() {
    let two = compaction(64, &[16, 17, 32, 48, 49], false);
    let after = |outcomes: &[Placed]| compacted_after(at(16 * MIB), &two, outcomes).bytes() / MIB;
    assert_eq!(after(&[stored(32 * MIB)]), 48);
    assert_eq!(after(&[stored(32 * MIB), stored(64 * MIB)]), 64);
    assert_eq!(after(&[Placed::Missing, Placed::Unfinished]), 48);
    assert_eq!(after(&[stored(31 * MIB), stored(64 * MIB)]), 16);
    assert_eq!(after(&[Placed::Unfinished, stored(64 * MIB)]), 16);
    let never = Compaction::never(at(16 * MIB), at(63 * MIB), 16 << 20);
    assert_eq!(compacted_after(at(16 * MIB), &never, &[]), at(48 * MIB));
}

fn epoch(segment_bytes: u32) -> EpochRecord {
    EpochRecord {
        timeline: TimelineId::from_uuid(uuid::Uuid::from_u128(1)),
        number: 3,
        system_identifier: 7,
        tli: 2,
        segment_bytes,
        start: at(u64::from(segment_bytes)),
        participant: ParticipantId::from_uuid(uuid::Uuid::from_u128(2)),
        generation: 1,
        parent: None,
        created_at: chrono::DateTime::UNIX_EPOCH,
    }
}

fn object(epoch: &EpochRecord, start: Lsn, end: Lsn) -> Metadata {
    Metadata {
        timeline: epoch.timeline,
        system_identifier: epoch.system_identifier,
        content: Content::Wal {
            epoch: epoch.number,
            tli: epoch.tli,
            start,
            end,
        },
        length: end.bytes() - start.bytes(),
        sha256: String::new(),
    }
}

#[test]
fn a_walk_refuses_what_does_not_belong_there() {
    let epoch = epoch(16 << 20);
    let good = object(&epoch, epoch.start, at(20 * MIB));
    let mut others = [
        object(&epoch, at(17 * MIB), at(20 * MIB)),
        object(&epoch, epoch.start, at(33 * MIB)),
        good.clone(),
        good.clone(),
    ];
    others[2].system_identifier = 8;
    others[3].content = Content::Wal {
        epoch: 3,
        tli: 1,
        start: epoch.start,
        end: at(20 * MIB),
    };
    let mut walk = Walk::new(&epoch);
    for other in &others {
        assert_eq!(walk.over(other).unwrap_err().at, epoch.start);
    }
    assert!(walk.is_at_a_segment());
    walk.over(&good).unwrap();
    assert_eq!((walk.at(), walk.is_at_a_segment()), (at(20 * MIB), false));
}

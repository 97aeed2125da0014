use super::*;
use crate::archive::layout::Run;
use crate::ids::TimelineId;

const SEGMENT: u32 = 1 << 20;

fn at(bytes: u64) -> Lsn {
    Lsn::from_bytes(bytes)
}

fn leg(epoch: u32, tli: u32, end: u64) -> Leg {
    Leg {
        timeline: TimelineId::from_uuid(uuid::Uuid::from_u128(1)),
        run: Run { epoch, tli },
        end: at(end),
    }
}

/// Two promotions: at 0x350000 and, on the start of a segment, at 0x500000; then to 0x610000.
fn path() -> Vec<Leg> {
    vec![
        leg(1, 1, 0x35_0000),
        leg(2, 2, 0x50_0000),
        leg(3, 0x10, 0x61_0000),
    ]
}

#[track_caller]
fn check(tli: u32, start: u64, expected: Option<(usize, u64)>) {
    let path = path();
    let way = Way {
        path: &path,
        segment_bytes: SEGMENT,
    };
    let found = way.segment(tli, at(start));
    let found = found.map(|segment| (segment.leg, way.bytes(segment).end.bytes()));
    assert_eq!(found, expected, "tli {tli} at {start:#x}");
}

#[test]
fn a_segment_is_read_from_its_leg_and_only_up_to_the_cut() {
    check(1, 0x20_0000, Some((0, 0x30_0000)));
    check(1, 0x30_0000, Some((0, 0x35_0000)));
    check(1, 0x40_0000, None);
    check(2, 0x20_0000, None);
    check(2, 0x30_0000, Some((1, 0x40_0000)));
    check(2, 0x40_0000, Some((1, 0x50_0000)));
    check(2, 0x50_0000, None);
    check(0x10, 0x40_0000, None);
    check(0x10, 0x50_0000, Some((2, 0x60_0000)));
    check(0x10, 0x60_0000, Some((2, 0x61_0000)));
    check(0x10, 0x70_0000, None);
    check(0x11, 0x50_0000, None);
    check(1, 0x20_0001, None);
}

#[test]
fn the_segments_follow_each_other_over_all_legs() {
    let path = path();
    let way = Way {
        path: &path,
        segment_bytes: SEGMENT,
    };
    let first = way.segment(1, at(0x10_0000));
    let all = std::iter::successors(first, |segment| way.next(*segment));
    let all: Vec<(usize, u64)> = all
        .map(|segment| (segment.leg, segment.start.bytes() >> 20))
        .collect();
    assert_eq!(all, [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6)]);
    assert!(way.is_last(Segment {
        leg: 2,
        start: at(0x60_0000)
    }));
}

#[test]
fn a_new_epoch_of_one_tli_has_the_segment_that_it_begins_in() {
    let path = vec![leg(1, 1, 0x35_0000), leg(2, 1, 0x50_0000)];
    let way = Way {
        path: &path,
        segment_bytes: SEGMENT,
    };
    assert_eq!(
        way.segment(1, at(0x30_0000)).map(|found| found.leg),
        Some(1)
    );
    assert_eq!(
        way.segment(1, at(0x20_0000)).map(|found| found.leg),
        Some(0)
    );
    assert_eq!(way.history(1), None);
}

#[test]
fn history_files_have_the_whole_line_up_to_their_own_tli() {
    let path = path();
    let way = Way {
        path: &path,
        segment_bytes: SEGMENT,
    };
    let first = "1\t0/350000\tleft by the next leader\n";
    let second = "2\t0/500000\tleft by the next leader\n";
    assert_eq!(way.history(1), None);
    assert_eq!(way.history(2).as_deref(), Some(first));
    assert_eq!(way.history(0x10), Some(format!("{first}{second}")));
    assert_eq!(way.history(3), None);
}

#[test]
fn what_postgres_asks_for_is_read_from_its_name() {
    let segment = |tli, start| {
        Some(Asked::Segment {
            tli,
            start: at(start),
        })
    };
    let parse = |name, bytes| Asked::parse(name, bytes);
    assert_eq!(
        parse("0000000A00000001000000FF", 16 << 20),
        segment(10, 0x1_FF00_0000)
    );
    assert_eq!(parse("0000000A0000000100000100", 16 << 20), None);
    assert_eq!(
        parse("0000000A0000000100000003", 1 << 30),
        segment(10, 0x1_C000_0000)
    );
    assert_eq!(
        parse("0000001F.history", SEGMENT),
        Some(Asked::History { tli: 31 })
    );
    for strange in [
        "",
        "1.history",
        "+000001F.history",
        "000000010000000000000001.partial",
        "00000001000000000000000é",
        "0000000100000000+0000001",
    ] {
        assert_eq!(parse(strange, SEGMENT), None, "{strange:?}");
    }
}

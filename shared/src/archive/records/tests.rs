use proptest::prelude::*;

use super::*;

const PAGE: usize = 8192;
const SEGMENT: usize = 128 * 1024;
const START: Lsn = Lsn::from_bytes(0x30_0000);

/// A segment with records of these lengths, of which the first began `remaining` bytes from its end
/// in the segment before. Gives it with the ends of the records that end in it.
fn segment(remaining: usize, lengths: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let mut writer = Writer {
        bytes: vec![0; SEGMENT],
        at: 0,
        ends: Vec::new(),
    };
    writer.write(&vec![1; remaining], remaining);
    for length in lengths {
        let mut record = vec![1; *length];
        record[..4].copy_from_slice(&u32::try_from(*length).unwrap().to_ne_bytes());
        writer.write(&record, 0);
    }
    (writer.bytes, writer.ends)
}

struct Writer {
    bytes: Vec<u8>,
    at: usize,
    ends: Vec<usize>,
}

impl Writer {
    /// Writes one record; pages that it goes over, and the first, get a header.
    fn write(&mut self, record: &[u8], from_before: usize) {
        let mut left = record;
        if from_before > 0 || self.at == 0 {
            self.page(from_before);
        }
        while !left.is_empty() && self.at < SEGMENT {
            if self.at.is_multiple_of(PAGE) {
                self.page(if left.len() == record.len() {
                    0
                } else {
                    left.len()
                });
            }
            let here = (self.at.next_multiple_of(PAGE) - self.at).min(left.len());
            self.bytes[self.at..self.at + here].copy_from_slice(&left[..here]);
            self.at += here;
            left = &left[here..];
        }
        if left.is_empty() && !record.is_empty() {
            self.at = self.at.next_multiple_of(8);
            self.ends.push(self.at);
        }
    }

    fn page(&mut self, remaining: usize) {
        if self.at >= SEGMENT {
            return;
        }
        self.bytes[self.at] = 0x10;
        let remaining = u32::try_from(remaining).unwrap().to_ne_bytes();
        self.bytes[self.at + 16..self.at + 20].copy_from_slice(&remaining);
        self.at += if self.at == 0 { 40 } else { 24 };
    }
}

fn last(bytes: &[u8]) -> Option<usize> {
    let stretch = Stretch {
        start: START,
        length: bytes.len(),
        segment_bytes: SEGMENT,
        page_bytes: PAGE,
    };
    let read = |offset: usize, length| Ok(bytes[offset..offset + length].to_vec());
    let end = stretch.last_record_end(read).unwrap()?;
    Some(usize::try_from(end.bytes() - START.bytes()).unwrap())
}

proptest! {
    #[test]
    fn only_records_that_are_whole_count(
        remaining in prop_oneof![Just(0), 1usize..100_000],
        lengths in prop::collection::vec(prop_oneof![24usize..200, 24usize..30_000], 0..60),
        cut in 0..=SEGMENT,
    ) {
        let (bytes, ends) = segment(remaining, &lengths);
        // Padding up to the next record is no part of one.
        let whole = ends.iter().copied().filter(|end| end.saturating_sub(7) <= cut);
        let found = last(&bytes[..cut]);
        let candidates: Vec<usize> = whole.collect();
        prop_assert!(
            found == candidates.last().copied()
                || found == candidates.iter().rev().nth(1).copied(),
            "{found:?} of {candidates:?} at {cut}"
        );
        let certain = ends.iter().copied().rfind(|end| *end <= cut);
        prop_assert!(found >= certain);
    }

    #[test]
    fn any_bytes_are_understood_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..3 * PAGE),
    ) {
        last(&bytes);
    }
}

#[test]
fn a_segment_that_was_left_early_is_whole() {
    let (mut bytes, ends) = segment(0, &[100, 24]);
    let switch = ends[0];
    bytes[switch + 16] = 0x40;
    bytes[switch + 17] = 0;
    assert_eq!(last(&bytes), Some(SEGMENT));
    assert_eq!(last(&bytes[..switch + 24]), Some(SEGMENT));
    assert_eq!(last(&bytes[..switch + 23]), Some(switch));
}

#[test]
fn a_segment_that_was_left_at_the_end_of_a_page_is_whole() {
    for on_first_page in [8, 16] {
        let (mut bytes, ends) = segment(0, &[PAGE - 40 - on_first_page, 24]);
        assert_eq!(ends[0], PAGE - on_first_page);
        let record = |offset: usize| {
            let at = ends[0] + offset;
            if at >= PAGE { at + 24 } else { at }
        };
        bytes[record(16)] = 0x40;
        bytes[record(17)] = 0;
        assert_eq!(last(&bytes), Some(SEGMENT));
        assert_eq!(last(&bytes[..PAGE + 30]), Some(PAGE - on_first_page));
    }
}

#[test]
fn nothing_is_whole_where_nothing_ends() {
    assert_eq!(last(&[]), None);
    assert_eq!(last(&vec![0; SEGMENT]), None);
    let (bytes, ends) = segment(2 * SEGMENT, &[]);
    assert_eq!((last(&bytes), ends), (None, vec![]));
}

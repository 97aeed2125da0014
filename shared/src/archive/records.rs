//! Where the last whole record of a stretch of WAL ends.
//!
//! PostgreSQL takes the first record that it cannot read for the end of WAL: one that is cut off,
//! and just as well one that is damaged. Whoever knows where the last whole record ends can tell a
//! recovery that went to the end from one that stopped before it.
//!
//! Each page says in its header how much of a record from before it has; so only the last pages are
//! looked at, backwards, until one has the end of a record. The form of pages and records is that of
//! `xlog_internal.h` and `xlogrecord.h` of PostgreSQL, unchanged since version 9.5, in the byte
//! order of this machine.

use std::io;

use crate::units::Lsn;

/// Header of a page: `XLogPageHeaderData`, and `XLogLongPageHeaderData` at the start of a segment.
const SHORT_HEADER: usize = 24;
const LONG_HEADER: usize = 40;

/// Offset of `xlp_rem_len` in it: how much of a record that began before is on this page and after.
const REMAINING: usize = 16;

/// Header of a record: `XLogRecord`.
const RECORD_HEADER: usize = 24;

/// Offsets in it, and what marks a record after which the rest of its segment is not used.
const INFO: usize = 16;
const RESOURCE_MANAGER: usize = 17;
const XLOG_RESOURCE_MANAGER: u8 = 0;
const XLOG_SWITCH: u8 = 0x40;
const INFO_MASK: u8 = 0xF0;

/// Records begin at multiples of this.
const ALIGNMENT: usize = 8;

/// Offset of `xlp_xlog_blcksz` in the header of a segment: the size of its pages.
const PAGE_BYTES: usize = 36;

/// As many bytes from the start of a segment say how large its pages are.
pub const HEADER_BYTES: usize = LONG_HEADER;

/// Size of the pages of a segment in bytes, from its header; null if it is none.
pub fn page_bytes(header: &[u8]) -> Option<usize> {
    let bytes = header.get(PAGE_BYTES..)?.first_chunk()?;
    let bytes = usize::try_from(u32::from_ne_bytes(*bytes)).ok()?;
    (bytes.is_power_of_two() && (1024..=65536).contains(&bytes)).then_some(bytes)
}

/// A segment of WAL, of which the first `length` bytes belong to a history.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Where it begins.
    pub start: Lsn,
    /// Bytes of it that count.
    pub length: usize,
    /// Size of the whole segment in bytes.
    pub segment_bytes: usize,
    /// Size of a page in bytes.
    pub page_bytes: usize,
}

impl Stretch {
    /// End of the last record that is whole, as PostgreSQL counts: where the next one would begin,
    /// but for the header of a page. Null if no record ends here. `read` gives as many bytes from an
    /// offset.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn last_record_end(
        &self,
        mut read: impl FnMut(usize, usize) -> io::Result<Vec<u8>>,
    ) -> io::Result<Option<Lsn>> {
        let mut end = self.length.min(self.segment_bytes);
        while end > 0 {
            let begin = (end - 1) - (end - 1) % self.page_bytes;
            let page = Page {
                bytes: &read(begin, end - begin)?,
                header: if begin == 0 {
                    LONG_HEADER
                } else {
                    SHORT_HEADER
                },
                size: self.page_bytes,
            };
            let before = match page.remaining() {
                Some(remaining @ (8 | 16)) if begin > 0 => {
                    let there = RECORD_HEADER - remaining;
                    Some(read(begin - there, there)?)
                }
                Some(_) | None => None,
            };
            let found = match page.last_record(before.as_deref()) {
                Some(Ending::Record(offset)) => Some(begin + offset),
                Some(Ending::Switch) => Some(self.segment_bytes),
                None => None,
            };
            if let Some(offset) = found {
                let offset = u64::try_from(offset).map_err(io::Error::other)?;
                return Ok(Some(Lsn::from_bytes(self.start.bytes() + offset)));
            }
            end = begin;
        }
        Ok(None)
    }
}

/// The beginning of a page, or all of it.
struct Page<'a> {
    bytes: &'a [u8],
    header: usize,
    /// Size of a whole page in bytes.
    size: usize,
}

/// What the last whole record of a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// One that ends at this offset.
    Record(usize),
    /// One after which the rest of the segment is not used.
    Switch,
}

impl Page<'_> {
    /// How much of a record from before is on this page and after; null if it is no page of WAL.
    fn remaining(&self) -> Option<usize> {
        let is_used = self.bytes.get(..2)? != [0, 0];
        let remaining = self.number(REMAINING).filter(|_| is_used)?;
        (self.bytes.len() >= self.header).then_some(remaining)
    }

    /// The last record that ends on this page. `before` is what the page before ends with, if a
    /// record that is nothing but a header may have begun there.
    fn last_record(&self, before: Option<&[u8]>) -> Option<Ending> {
        let remaining = self.remaining()?;
        let mut at = self.header.checked_add(remaining)?;
        if at > self.bytes.len() {
            return None;
        }
        let mut last = None;
        if remaining > 0 {
            if before.is_some_and(|before| self.continues_switch(before, at)) {
                return Some(Ending::Switch);
            }
            at = at.next_multiple_of(ALIGNMENT);
            last = Some(Ending::Record(at));
        }
        while let Some(length) = self.number(at).filter(|length| *length >= RECORD_HEADER) {
            let end = at.checked_add(length)?;
            if end > self.bytes.len() || at >= self.size {
                break;
            }
            if is_switch(self.bytes.get(at..end)?) {
                return Some(Ending::Switch);
            }
            at = end.next_multiple_of(ALIGNMENT);
            last = Some(Ending::Record(at));
        }
        last
    }

    /// Whether `before` and what follows the header are one such record, with nothing behind it.
    fn continues_switch(&self, before: &[u8], end: usize) -> bool {
        let rest = self.bytes.get(self.header..end).unwrap_or_default();
        let record = [before, rest].concat();
        let length = record
            .first_chunk()
            .map(|length| u32::from_ne_bytes(*length));
        let mut behind = self.bytes.iter().skip(end);
        length.map(usize::try_from) == Some(Ok(RECORD_HEADER))
            && is_switch(&record)
            && behind.all(|byte| *byte == 0)
    }

    fn number(&self, at: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_ne_bytes(*bytes)).ok()
    }
}

fn is_switch(record: &[u8]) -> bool {
    let info = record.get(INFO).map(|info| info & INFO_MASK);
    record.get(RESOURCE_MANAGER) == Some(&XLOG_RESOURCE_MANAGER) && info == Some(XLOG_SWITCH)
}

#[cfg(test)]
mod tests;

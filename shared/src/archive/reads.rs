//! Signing what an agent wants to read for a restore.

use std::collections::BTreeMap;
use std::time::Duration;

use super::chain::{segment_end, segment_start};
use super::layout::{Prefix, start_in_name};
use super::store::{ObjectStore, StoreError};
use crate::agent_api::restore::{
    ArchiveReads, RestoreSource, RestoreStatus, WAL_OBJECTS_MAX, WalObject, WalReads, WantedWal,
};
use crate::ids::ParticipantId;
use crate::units::Lsn;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// Participant that is restored.
    pub participant: ParticipantId,
    /// Its generation.
    pub generation: u64,
    /// Size of a WAL segment of its cluster in bytes.
    pub segment_bytes: u32,
}

/// Signs everything that `status` wants, good for `valid_for`; null if it wants nothing.
///
/// # Errors
/// [`StoreError`] if the archive cannot be listed now.
pub async fn sign_reads(
    store: &dyn ObjectStore,
    (source, asker): (&RestoreSource, Asker),
    status: &RestoreStatus,
    valid_for: Duration,
) -> Result<Option<ArchiveReads>, StoreError> {
    let prefix = source.prefix();
    let manifest = if status.wants_manifest {
        let key = prefix.backup_manifest(source.backup);
        Some(store.sign_get(&key, valid_for).await?)
    } else {
        None
    };
    let mut pieces = BTreeMap::new();
    for number in &status.wants_pieces {
        let key = prefix.backup_piece(source.backup, *number);
        pieces.insert(*number, store.sign_get(&key, valid_for).await?);
    }
    let wal = match status.wants_wal {
        Some(wanted) => {
            let prefix = source.prefix_of(wanted.timeline);
            let bytes = asker.segment_bytes;
            Some(sign_wal(store, (prefix, bytes), wanted, valid_for).await?)
        }
        None => None,
    };
    if manifest.is_none() && pieces.is_empty() && wal.is_none() {
        return Ok(None);
    }
    Ok(Some(ArchiveReads {
        participant: asker.participant,
        generation: asker.generation,
        manifest,
        pieces,
        wal,
    }))
}

async fn sign_wal(
    store: &dyn ObjectStore,
    (prefix, segment_bytes): (Prefix, u32),
    wanted: WantedWal,
    valid_for: Duration,
) -> Result<WalReads, StoreError> {
    let list = async |names: String| -> Result<(Vec<Lsn>, bool), StoreError> {
        // The last name before what is wanted: names have the positions at a fixed width.
        let after = wanted.from.bytes().checked_sub(1);
        let after = after.map(|before| format!("{names}{before:016X}.zst"));
        let limit = u16::try_from(WAL_OBJECTS_MAX).unwrap_or(u16::MAX);
        let listed = store.list(&names, after.as_deref(), limit).await?;
        let is_cut_off = listed.len() == WAL_OBJECTS_MAX;
        let starts = listed
            .iter()
            .filter_map(|listed| start_in_name(&listed.key));
        Ok((starts.collect(), is_cut_off))
    };
    // Chunks first: they are deleted only once their segment is there.
    let chunks = list(prefix.chunks(wanted.run)).await?;
    let segments = list(prefix.segments(wanted.run)).await?;
    let chosen = choose(&wanted, segment_bytes, &chunks, &segments);
    let mut objects = Vec::with_capacity(chosen.objects.len());
    for (start, is_segment) in chosen.objects {
        let key = if is_segment {
            prefix.segment(wanted.run, start)
        } else {
            prefix.chunk(wanted.run, start)
        };
        objects.push(WalObject {
            start,
            is_segment,
            get: store.sign_get(&key, valid_for).await?,
        });
    }
    Ok(WalReads {
        timeline: wanted.timeline,
        run: wanted.run,
        from: wanted.from,
        until: chosen.until,
        objects,
    })
}

/// Objects to read, and up to where there are no others.
#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    objects: Vec<(Lsn, bool)>,
    until: Lsn,
}

/// Takes whole segments where they are there, and chunks elsewhere. Each list is sorted, and may be
/// cut off: nothing is known then behind its last entry.
fn choose(
    wanted: &WantedWal,
    segment_bytes: u32,
    (chunks, chunks_cut_off): &(Vec<Lsn>, bool),
    (segments, segments_cut_off): &(Vec<Lsn>, bool),
) -> Chosen {
    let known = |starts: &[Lsn], is_cut_off: bool| {
        let last = starts.last().filter(|_| is_cut_off);
        last.map_or(wanted.end, |last| Lsn::from_bytes(last.bytes() + 1))
    };
    let mut until = wanted.end.min(known(chunks, *chunks_cut_off));
    // A segment may be there although its chunks are not: it is known up to where the list of
    // segments goes on.
    if let Some(last) = segments.last().filter(|_| *segments_cut_off) {
        until = until.min(segment_end(*last, segment_bytes));
    }
    let is_in = |start: &&Lsn| **start >= wanted.from && **start < until;
    let whole: BTreeMap<Lsn, bool> = segments
        .iter()
        .filter(is_in)
        .map(|at| (*at, true))
        .collect();
    let apart = chunks.iter().filter(is_in).filter(|at| {
        // A reader that is in the middle of a segment already goes on with its chunks.
        let segment = segment_start(**at, segment_bytes);
        segment < wanted.from || !whole.contains_key(&segment)
    });
    let mut objects = whole.clone();
    objects.extend(apart.map(|at| (*at, false)));
    let mut objects: Vec<(Lsn, bool)> = objects.into_iter().collect();
    if let Some((next, _)) = objects.get(WAL_OBJECTS_MAX) {
        until = *next;
        objects.truncate(WAL_OBJECTS_MAX);
    }
    Chosen { objects, until }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::layout::Run;
    use crate::ids::TimelineId;

    const SEGMENT: u32 = 1 << 20;

    fn at(bytes: u64) -> Lsn {
        Lsn::from_bytes(bytes)
    }

    #[track_caller]
    fn check(chunks: (&[u64], bool), segments: (&[u64], bool), expected: (&[(u64, bool)], u64)) {
        let wanted = WantedWal {
            timeline: TimelineId::from_uuid(uuid::Uuid::nil()),
            run: Run { epoch: 1, tli: 1 },
            from: at(0x18_0000),
            end: at(0x50_0000),
        };
        let starts =
            |(of, is_cut_off): (&[u64], bool)| (of.iter().map(|of| at(*of)).collect(), is_cut_off);
        let chosen = choose(&wanted, SEGMENT, &starts(chunks), &starts(segments));
        let (objects, until) = expected;
        let objects = objects.iter().map(|(start, whole)| (at(*start), *whole));
        let until = at(until);
        assert_eq!(
            chosen,
            Chosen {
                objects: objects.collect(),
                until
            }
        );
    }

    #[test]
    fn segments_are_read_whole_where_they_are_there() {
        check(
            (
                &[0x18_0000, 0x1F_0000, 0x20_0000, 0x28_0000, 0x30_0000],
                false,
            ),
            (&[0x20_0000], false),
            (
                &[
                    (0x18_0000, false),
                    (0x1F_0000, false),
                    (0x20_0000, true),
                    (0x30_0000, false),
                ],
                0x50_0000,
            ),
        );
    }

    #[test]
    fn nothing_is_said_of_what_was_not_listed() {
        check(
            (&[0x18_0000, 0x28_0000], true),
            (&[], false),
            (&[(0x18_0000, false), (0x28_0000, false)], 0x28_0001),
        );
        check(
            (&[], false),
            (&[0x20_0000, 0x30_0000], true),
            (&[(0x20_0000, true), (0x30_0000, true)], 0x40_0000),
        );
        check(
            (&[0x50_0000], false),
            (&[0x50_0000], false),
            (&[], 0x50_0000),
        );
    }

    #[test]
    fn no_more_is_signed_than_a_call_may_have() {
        let chunks: Vec<u64> = (0..300).map(|number| 0x18_0000 + number).collect();
        let first: Vec<(u64, bool)> = chunks.iter().map(|at| (*at, false)).take(256).collect();
        check((&chunks, false), (&[], false), (&first, 0x18_0100));
    }
}

//! Whether our WAL goes on from what the archive has.
//!
//! PostgreSQL that was started again may have lost WAL that it had called flushed: a disk that lied,
//! a data directory that was replaced, a machine that was put back to a snapshot. What it writes
//! then has the same positions and is another history. So the first push after every start of
//! PostgreSQL or of this agent compares the end of what is archived with our own files.

use std::sync::{Mutex, PoisonError};

use shared::agent_api::wal::{Place, Placed};
use shared::archive::layout::Run;
use shared::ids::{ParticipantId, TimelineId};
use shared::units::Lsn;

use crate::live::Writer;

/// Whose WAL, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) writer: Writer,
    pub(super) participant: ParticipantId,
    pub(super) timeline: TimelineId,
    pub(super) run: Run,
}

/// Up to where the WAL here is what the archive has: of one chain, because there is one PostgreSQL.
/// Forgotten with the agent, and good only as long as PostgreSQL was not started again.
#[derive(Debug, Default)]
pub(crate) struct Joined(Mutex<Option<(Chain, Lsn)>>);

impl Joined {
    /// Whether everything up to `lsn` is known to be the same here and in the archive.
    pub(super) fn reaches(&self, chain: &Chain, lsn: Lsn) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()
            .is_some_and(|(of, reached)| of == chain && lsn <= *reached)
    }

    /// Notes that everything up to `lsn` is the same here and in the archive.
    pub(super) fn note(&self, chain: Chain, lsn: Lsn) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let further = known.filter(|(of, _)| *of == chain);
        let reached = further.map_or(lsn, |(_, reached)| reached.max(lsn));
        *known = Some((chain, reached));
    }
}

/// Where the unbroken chain of `placed` ends.
pub(super) fn end_of(places: &[Place], placed: &[Placed]) -> Option<Lsn> {
    let mut reached = places.first()?.start;
    for (place, placed) in places.iter().zip(placed) {
        let (Placed::Stored { end, .. } | Placed::Adopted { end }) = placed else {
            break;
        };
        if place.start != reached {
            break;
        }
        reached = *end;
    }
    Some(reached)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    #[test]
    fn what_is_known_ends_with_the_postgres_that_it_was_known_of() {
        let chain = Chain {
            writer: Writer {
                system_identifier: 7,
                tli: 1,
                started_at: DateTime::UNIX_EPOCH,
            },
            participant: ParticipantId::new(),
            timeline: TimelineId::new(),
            run: Run { epoch: 1, tli: 1 },
        };
        let at = Lsn::from_bytes;
        let joined = Joined::default();
        assert!(!joined.reaches(&chain, at(0)), "nothing is known at first");
        joined.note(chain, at(100));
        joined.note(chain, at(50));
        assert!(joined.reaches(&chain, at(100)));
        assert!(!joined.reaches(&chain, at(101)));
        let mut again = chain;
        again.writer.started_at += TimeDelta::microseconds(1);
        assert!(!joined.reaches(&again, at(100)), "it was started again");
        joined.note(again, at(10));
        assert!(!joined.reaches(&again, at(100)));
    }
}

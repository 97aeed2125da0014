//! Finding the end of a chain again, from its objects alone.

use super::{segment_end, segment_start};
use crate::archive::epoch::EpochRecord;
use crate::archive::frame::{Content, Metadata};
use crate::units::Lsn;

/// A walk along the chain of an epoch, object by object, from its start.
///
/// Whoever walks reads what begins at [`Walk::at`] – the whole segment if it is the start of one
/// and that is there, else the chunk – and goes on until there is nothing.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    epoch: &'a EpochRecord,
    at: Lsn,
}

/// An object that does not belong where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the object at {at} does not belong there: {what}")]
pub struct Broken {
    /// Where it is.
    pub at: Lsn,
    /// What is wrong with it.
    pub what: &'static str,
}

impl<'a> Walk<'a> {
    /// A walk from the start of `epoch`.
    pub fn new(epoch: &'a EpochRecord) -> Self {
        Self {
            epoch,
            at: epoch.start,
        }
    }

    /// A walk of `epoch` that goes on at `at`, a joint of its chain.
    pub fn going_on(epoch: &'a EpochRecord, at: Lsn) -> Self {
        Self { epoch, at }
    }

    /// Everything up to here is stored, without a hole: what is read next begins here.
    pub fn at(&self) -> Lsn {
        self.at
    }

    /// Whether a whole segment may begin here.
    pub fn is_at_a_segment(&self) -> bool {
        segment_start(self.at, self.epoch.segment_bytes) == self.at
    }

    /// Goes on over the object that was read here.
    ///
    /// # Errors
    /// [`Broken`] if it is about something else; the walk stays where it is.
    pub fn over(&mut self, object: &Metadata) -> Result<(), Broken> {
        let broken = |what| Broken { at: self.at, what };
        if object.timeline != self.epoch.timeline {
            return Err(broken("it is of another timeline"));
        }
        if object.system_identifier != self.epoch.system_identifier {
            return Err(broken("it is of another cluster"));
        }
        let Content::Wal {
            epoch,
            tli,
            start,
            end,
        } = object.content
        else {
            return Err(broken("it has no WAL"));
        };
        if (epoch, tli) != (self.epoch.number, self.epoch.tli) {
            return Err(broken("it is of another epoch"));
        }
        if start != self.at {
            return Err(broken("it begins elsewhere"));
        }
        if end <= start || end > segment_end(start, self.epoch.segment_bytes) {
            return Err(broken("it ends where none can end"));
        }
        self.at = end;
        Ok(())
    }
}

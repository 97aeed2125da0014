//! Pushing WAL: which ranges an agent shall upload to which places, and what became of each.
//!
//! The worker signs places one after the other, beginning at the watermark; the agent fills as many
//! as PostgreSQL has flushed WAL for. The answer waits for the uploads, but never longer than it
//! was told: what is not finished then is asked for again. The same call twice is harmless: a place
//! that is taken is compared with what was to be written there.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::archive::layout::Run;
use crate::ids::{ParticipantId, TimelineId};
use crate::secret::Secret;
use crate::units::Lsn;

/// Largest chunk in bytes of WAL. Small enough that a lost upload costs little and several fit into
/// the memory of an agent; a segment of the usual size is one chunk.
pub const CHUNK_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Most places of a kind in one call: half a gigabyte of WAL in the largest chunks.
pub const PLACES_MAX: usize = 32;

/// Longest time an answer may take.
pub const ANSWER_WITHIN_MAX: Duration = Duration::from_mins(1);

/// A request to the archive that somebody else may make, for a while.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Where to; carries the signature, and is secret as long as it is good.
    pub url: Secret,
    /// Headers that were signed and must be sent.
    pub headers: BTreeMap<String, String>,
    /// Of a write to a store that ignores conditions: a `HEAD` of the same object, to be made first.
    /// Whoever finds it there must not write. Null if the store sees to that itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_first: Option<Box<Self>>,
}

/// `POST /v1/wal/push`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalPush {
    /// Participant whose WAL it is.
    pub participant: ParticipantId,
    /// Its generation, as the worker knows it: an agent that holds another one refuses.
    pub generation: u64,
    /// Timeline it belongs to.
    pub timeline: TimelineId,
    /// `system_identifier` of the cluster: an agent of another cluster refuses.
    pub system_identifier: u64,
    /// Epoch and `tli`: an agent whose PostgreSQL is on another `tli` refuses.
    pub run: Run,
    /// What the archive has right before the first chunk: an agent that does not know that its WAL
    /// goes on from there compares first. Null where nothing is before: at the start of an epoch
    /// and behind a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seam: Option<Seam>,
    /// Places for chunks, each beginning where the one before ends, within one segment and of at
    /// most [`CHUNK_BYTES_MAX`]. At most [`PLACES_MAX`].
    pub chunks: Vec<Place>,
    /// Places for whole segments that lie below the watermark, to be put together. At most
    /// [`PLACES_MAX`]; none if segments are larger than
    /// [`CONTENT_BYTES_MAX`](crate::archive::frame::CONTENT_BYTES_MAX), which an object cannot
    /// hold: their chunks stay as they are.
    pub segments: Vec<Place>,
    /// WAL before this is in the archive for good: the slot is advanced to it, and never back.
    pub safe_lsn: Lsn,
    /// Milliseconds after which the answer must be given (1..=60000).
    pub answer_within_ms: u32,
}

/// Where the next chunk is joined to what is archived.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seam {
    /// The watermark: where the first chunk begins.
    pub end: Lsn,
    /// Objects that end there, at least one: the first that is there counts. (A chunk may have been
    /// deleted since its segment was put together.)
    pub objects: Vec<Archived>,
}

/// An object of the archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archived {
    /// First byte of its WAL.
    pub start: Lsn,
    /// Reads it.
    pub get: Signed,
}

/// A place in the archive for a range of WAL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// First byte.
    pub start: Lsn,
    /// The byte after the last one: at most a segment's end. A chunk ends earlier where flushed WAL
    /// ends; a segment never does.
    pub end: Lsn,
    /// Writes there if nothing is there yet.
    pub put: Signed,
    /// Reads what is there.
    pub get: Signed,
}

/// Answer to [`WalPush`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalPushed {
    /// WAL flushed up to here when the call began.
    pub flush_lsn: Lsn,
    /// Moment right before that was looked at, by PostgreSQL's clock: whatever was acknowledged as
    /// committed and flushed before it is below `flush_lsn`. (What was committed with
    /// `synchronous_commit = off` is acknowledged earlier, and may not be.) Null from an agent that
    /// does not tell yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<DateTime<Utc>>,
    /// What became of the chunks: one entry for each place that was reached, in order. If our WAL
    /// does not go on from the [seam](WalPush::seam), a single one that says why; then nothing was
    /// written and the slot was not moved.
    pub chunks: Vec<Placed>,
    /// What became of the segments, likewise.
    pub segments: Vec<Placed>,
    /// Oldest WAL that the slot holds after the call; null if the slot had lost it or was not there
    /// when the call began. (It is made anew then, and holds what is left from now on.)
    pub slot_restart_lsn: Option<Lsn>,
}

/// What became of one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", deny_unknown_fields)]
pub enum Placed {
    /// Written now, up to `end`: shorter than the place if no more was flushed.
    Stored {
        /// The byte after the last one.
        end: Lsn,
        /// Bytes of the object.
        object_bytes: u64,
    },
    /// An object with the WAL of this cluster was there, all of it compared: it ends at `end`,
    /// before or behind the end of the place.
    Adopted {
        /// The byte after its last one.
        end: Lsn,
    },
    /// An object with other content was there, or right before. Nothing was changed.
    Conflict {
        /// What differs, for people.
        detail: String,
    },
    /// PostgreSQL has removed this WAL: it is lost unless it is elsewhere.
    Missing,
    /// It did not work this time.
    Failed {
        /// Why, for people.
        detail: String,
    },
    /// Not finished in time.
    Unfinished,
}

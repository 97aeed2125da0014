//! Reading one object, whole and checked.

use std::time::Duration;

use shared::agent_api::wal::Signed;
use shared::archive::frame::{self, CONTENT_BYTES_MAX, FrameError, Metadata, object_bytes_max};

use super::Board;
use crate::archive::{Archive, Failure, Got, Pauses, Reserved};

/// Longest time of one attempt: one that took this long hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often an object is read that seems damaged: it may have been damaged on the way.
const READS_OF_DAMAGED: u32 = 3;

/// An object that was read, with the memory it takes.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) metadata: Metadata,
    pub(super) plain: Vec<u8>,
    pub(super) _reserved: Reserved,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// The request is not good (any more): another one must be signed.
    Refused(String),
    /// There is no object of that name.
    Absent,
    /// There is one, and it is not what it should be.
    Damaged(String),
}

/// Memory for an object with so much plain content, while it is read and checked.
pub(super) fn memory_for(plain: usize) -> usize {
    plain + object_bytes_max(plain)
}

/// A way to read objects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) archive: &'a Archive,
    pub(super) board: &'a Board,
}

impl Reader<'_> {
    /// Reads the object `key` of at most `plain_max` bytes of content; `reserved` is enough memory
    /// for it, and shrinks to what it takes. What fails for a moment is tried again for as long as it takes, and shown.
    pub(super) async fn read(
        &self,
        (key, from): (&str, &Signed),
        plain_max: usize,
        reserved: &mut Reserved,
        is_right: impl Fn(&Metadata) -> Result<(), String>,
    ) -> Result<(Metadata, Vec<u8>), Unread> {
        let bytes_max = object_bytes_max(plain_max.min(CONTENT_BYTES_MAX));
        let mut pauses = Pauses::default();
        let mut damaged = 0;
        loop {
            match self.archive.get(from, bytes_max, PATIENCE).await {
                Ok(Got::Object(object)) => {
                    let trouble = match self.check(object, plain_max, &is_right).await {
                        Ok((metadata, plain)) => {
                            reserved.shrink_to(plain.len());
                            self.board.note_trouble(None);
                            return Ok((metadata, plain));
                        }
                        Err(trouble) => trouble,
                    };
                    damaged += 1;
                    if damaged == READS_OF_DAMAGED {
                        return Err(Unread::Damaged(trouble));
                    }
                    self.board.note_trouble(Some(format!("{key}: {trouble}")));
                }
                Ok(Got::Nothing) => return Err(Unread::Absent),
                Ok(Got::TooLarge) => {
                    let what = format!("it is larger than {bytes_max} bytes");
                    return Err(Unread::Damaged(what));
                }
                Err(Failure::Final(detail)) => return Err(Unread::Refused(detail)),
                Err(Failure::Again(detail)) => {
                    self.board.note_trouble(Some(format!("{key}: {detail}")));
                }
            }
            pauses.rest().await;
        }
    }

    async fn check(
        &self,
        object: Vec<u8>,
        plain_max: usize,
        is_right: impl Fn(&Metadata) -> Result<(), String>,
    ) -> Result<(Metadata, Vec<u8>), String> {
        let told = frame::peek(&object).map_err(describe)?.length;
        if usize::try_from(told).is_ok_and(|told| told > plain_max) {
            return Err(format!("its content is larger than {plain_max} bytes"));
        }
        let decoded = self.archive.compute(move || frame::decode(&object)).await;
        let decoded = decoded.map_err(|error| error.to_string())?;
        let (metadata, plain) = decoded.map_err(describe)?;
        is_right(&metadata)?;
        Ok((metadata, plain))
    }
}

fn describe(error: FrameError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

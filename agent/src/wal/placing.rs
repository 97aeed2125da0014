//! One place: from the segment file to the archive.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use shared::agent_api::wal::{Archived, Place, Placed, Seam, Signed};
use shared::archive::frame::{self, CONTENT_BYTES_MAX, Content, Label, object_bytes_max};
use shared::archive::layout::Run;
use shared::ids::TimelineId;
use shared::units::Lsn;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::Calling;
use super::compare::{Expected, Found};
use super::files::{ReadError, WalFiles};
use crate::archive::{Archive, Attempts, Failure, Got, Put, Reserved};

/// How much zstd tries. Measured on segments of pgbench: level 1 makes the smallest objects (a
/// seventh to an eleventh) and takes the least time; 2 to 5 are slower and 1 to 2 % larger.
const LEVEL: i32 = 1;

/// How often an object that looks damaged is read before that is believed: the way from the archive
/// may be what is damaged.
const LOOKS_MAX: u32 = 3;

/// How much of a place must be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Up to where WAL is flushed.
    AsMuchAsIsFlushed,
    /// All of it, or nothing.
    AllOfIt,
}

/// What all places of a call have in common.
pub(super) struct Placing<'a> {
    pub(super) archive: &'a Archive,
    pub(super) timeline: TimelineId,
    pub(super) system_identifier: u64,
    pub(super) run: Run,
    pub(super) files: Arc<WalFiles>,
    /// Flushed up to here when the call began.
    pub(super) flush_lsn: Lsn,
    pub(super) calling: &'a Calling<'a>,
}

/// How work on a place ends early.
enum End {
    Placed(Placed),
    Failed(String),
}

/// What is in a place.
enum Look {
    Nothing,
    /// Something that does not belong there, and what is wrong with it.
    Other(String),
    /// WAL of this run that begins there, whole and undamaged.
    Found(Found),
}

impl From<Placed> for End {
    fn from(placed: Placed) -> Self {
        Self::Placed(placed)
    }
}

impl Placing<'_> {
    /// Fills a place, or finds out why not, until `deadline`.
    pub(super) async fn fill(&self, place: &Place, want: Want, deadline: Instant) -> Placed {
        let mut attempts = Attempts::until(deadline);
        let work = timeout_at(deadline, self.work(place, want, &mut attempts)).await;
        self.conclude(place.start, work, attempts)
    }

    /// Compares what the archive has right before the first place with our own WAL: adopted if it
    /// is the same.
    pub(super) async fn join(&self, seam: &Seam, deadline: Instant) -> Placed {
        let mut attempts = Attempts::until(deadline);
        let work = timeout_at(deadline, self.before(seam, &mut attempts)).await;
        self.conclude(seam.end, work, attempts)
    }

    fn conclude(
        &self,
        start: Lsn,
        work: Result<Result<Placed, End>, Elapsed>,
        attempts: Attempts,
    ) -> Placed {
        let placed = match (work, attempts.into_trouble()) {
            (Ok(Ok(placed) | Err(End::Placed(placed))), _) => placed,
            (Ok(Err(End::Failed(detail))), _) | (Err(_), Some(detail)) => Placed::Failed { detail },
            (Err(_), None) => Placed::Unfinished,
        };
        let run = self.run;
        match &placed {
            Placed::Stored { .. } | Placed::Adopted { .. } | Placed::Unfinished => {
                tracing::debug!(%start, ?placed, "a place is filled");
            }
            Placed::Failed { detail } => {
                tracing::warn!(%start, error = detail, "failed to push WAL");
            }
            Placed::Conflict { detail } => {
                tracing::error!(%start, %run, error = detail, "other WAL is in the archive");
            }
            Placed::Missing => tracing::error!(%start, %run, "WAL to push is gone"),
        }
        placed
    }

    async fn before(&self, seam: &Seam, attempts: &mut Attempts) -> Result<Placed, End> {
        let conflict = |detail| Ok(Placed::Conflict { detail });
        let (end, flushed) = (seam.end, self.flush_lsn);
        if end > flushed {
            return conflict(format!(
                "the archive has WAL up to {end}, and PostgreSQL has flushed only up to {flushed}"
            ));
        }
        for Archived { start, get } in &seam.objects {
            let there = self.compare((*start, get), Want::AsMuchAsIsFlushed, attempts);
            match there.await? {
                None => {}
                Some(Placed::Adopted { end: other }) if other != end => {
                    return conflict(format!(
                        "the last object before {end} begins at {start} and ends at {other}"
                    ));
                }
                Some(placed) => return Ok(placed),
            }
        }
        conflict(format!("the archive has lost the WAL right before {end}"))
    }

    async fn work(
        &self,
        place: &Place,
        want: Want,
        attempts: &mut Attempts,
    ) -> Result<Placed, End> {
        if want == Want::AllOfIt && place.end > self.flush_lsn {
            let detail = format!("WAL is flushed only up to {}", self.flush_lsn);
            return Err(End::Failed(detail));
        }
        let end = place.end.min(self.flush_lsn);
        loop {
            let (object, reserved) = match self.make(place.start..end).await {
                Err(End::Placed(Placed::Missing)) if want == Want::AllOfIt => {
                    return self.without_wal(place, attempts).await;
                }
                made => made?,
            };
            let object_bytes = u64::try_from(object.len()).unwrap_or(u64::MAX);
            match self.put(place, object, attempts).await? {
                Put::Stored => return Ok(Placed::Stored { end, object_bytes }),
                Put::Taken => drop(reserved),
            }
            let there = (place.start, &place.get);
            match self.compare(there, want, attempts).await {
                // Removed since it was read.
                Err(End::Placed(Placed::Missing)) if want == Want::AllOfIt => {
                    return self.without_wal(place, attempts).await;
                }
                compared => {
                    if let Some(placed) = compared? {
                        return Ok(placed);
                    }
                }
            }
            let gone = "the object that was there is gone".to_owned();
            retry(attempts, Failure::Again(gone)).await?;
        }
    }

    /// A segment whose WAL is gone here is left in its chunks, unless it is in its place already:
    /// an upload whose answer was lost. There is nothing left to compare it with, but what it says
    /// it is, and that it is whole and undamaged. Whoever wrote that had the WAL of this run.
    async fn without_wal(&self, place: &Place, attempts: &mut Attempts) -> Result<Placed, End> {
        let there = (place.start, &place.get);
        let _reserved = self.reserve_to_look().await;
        Ok(match self.look(there, Want::AllOfIt, attempts).await? {
            Look::Nothing => Placed::Missing,
            Look::Other(detail) => Placed::Conflict { detail },
            Look::Found(found) => Placed::Adopted {
                end: found.range.end,
            },
        })
    }

    async fn put(&self, place: &Place, object: Bytes, attempts: &mut Attempts) -> Result<Put, End> {
        loop {
            let put = self
                .archive
                .put(&place.put, object.clone(), attempts.patience());
            match put.await {
                Ok(put) => return Ok(put),
                Err(failure) => retry(attempts, failure).await?,
            }
        }
    }

    /// Makes the object for a range. The memory is reserved for it as long as it is kept.
    async fn make(&self, range: Range<Lsn>) -> Result<(Bytes, Reserved), End> {
        let length = range.end.bytes().saturating_sub(range.start.bytes());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut reserved = self
            .archive
            .reserve(length.saturating_add(object_bytes_max(length)))
            .await;
        let label = Label {
            timeline: self.timeline,
            system_identifier: self.system_identifier,
            content: Content::Wal {
                epoch: self.run.epoch,
                tli: self.run.tli,
                start: range.start,
                end: range.end,
            },
        };
        let files = Arc::clone(&self.files);
        let (start, work) = (range.start, move || {
            let plain = files.read(&range)?;
            let object = frame::encode(&label, &plain, LEVEL);
            drop(plain);
            reserved.shrink_to(object.as_ref().map_or(0, Vec::len));
            Ok::<_, ReadError>((object, reserved))
        });
        let made = self.archive.compute(work).await;
        let (object, reserved) = match made.map_err(|error| End::Failed(error.to_string()))? {
            Ok(made) => made,
            Err(error) => return Err(self.unreadable(start, &error).await),
        };
        let object = object.map_err(|error| End::Failed(error.to_string()))?;
        Ok((Bytes::from(object), reserved))
    }

    /// WAL is missing if its file is gone and the slot does not hold it either.
    async fn unreadable(&self, start: Lsn, error: &ReadError) -> End {
        let is_gone = matches!(error, ReadError::Gone(_));
        if !is_gone {
            return End::Failed(error.to_string());
        }
        match self.calling.wal_now(self.calling.deadline).await {
            Ok(wal) if wal.slot_restart_lsn.is_none_or(|held| held > start) => {
                End::Placed(Placed::Missing)
            }
            Ok(_) => End::Failed(format!("{error}, although the slot should hold it")),
            Err(silence) => End::Failed(format!("{error}, and {silence}")),
        }
    }

    /// Compares the object of a start with our own WAL; none if nothing is there.
    async fn compare(
        &self,
        there: (Lsn, &Signed),
        want: Want,
        attempts: &mut Attempts,
    ) -> Result<Option<Placed>, End> {
        let _reserved = self.reserve_to_look().await;
        match self.look(there, want, attempts).await? {
            Look::Nothing => Ok(None),
            Look::Other(detail) => Ok(Some(Placed::Conflict { detail })),
            Look::Found(found) => self.adopt(found).await.map(Some),
        }
    }

    /// Most bytes of WAL of one object.
    fn content_max(&self) -> usize {
        let segment_bytes = usize::try_from(self.files.segment_bytes);
        segment_bytes.unwrap_or(usize::MAX).min(CONTENT_BYTES_MAX)
    }

    /// Memory for an object, its content, and what it is compared with.
    async fn reserve_to_look(&self) -> Reserved {
        let content_max = self.content_max();
        let bytes = object_bytes_max(content_max) + 2 * content_max;
        self.archive.reserve(bytes).await
    }

    /// Reads the object of a start, and finds out what it is.
    async fn look(
        &self,
        (start, from): (Lsn, &Signed),
        want: Want,
        attempts: &mut Attempts,
    ) -> Result<Look, End> {
        let object_max = object_bytes_max(self.content_max());
        let segment_bytes = self.files.segment_bytes;
        let in_segment = start.bytes() % segment_bytes;
        let expected = Expected {
            timeline: self.timeline,
            system_identifier: self.system_identifier,
            run: self.run,
            start,
            segment_end: Lsn::from_bytes(start.bytes() - in_segment + segment_bytes),
            whole: want == Want::AllOfIt,
        };
        let mut looks = 0;
        loop {
            let got = self.archive.get(from, object_max, attempts.patience());
            let object = match got.await {
                Ok(Got::Object(object)) => object,
                Ok(Got::Nothing) => return Ok(Look::Nothing),
                Ok(Got::TooLarge) => {
                    let detail = "the object that is there is too large".to_owned();
                    return Ok(Look::Other(detail));
                }
                Err(failure) => {
                    retry(attempts, failure).await?;
                    continue;
                }
            };
            let opened = self.archive.compute(move || expected.open(&object)).await;
            match opened.map_err(|error| End::Failed(error.to_string()))? {
                Ok(Ok(found)) => return Ok(Look::Found(found)),
                Ok(Err(detail)) => return Ok(Look::Other(detail)),
                Err(error) => {
                    looks += 1;
                    if looks == LOOKS_MAX {
                        let detail = format!("the object that is there: {error}");
                        return Ok(Look::Other(detail));
                    }
                    retry(attempts, Failure::Again(error.to_string())).await?;
                }
            }
        }
    }

    /// Adopts WAL that is the same as ours, all of it: what PostgreSQL has not flushed it may still
    /// write differently.
    async fn adopt(&self, found: Found) -> Result<Placed, End> {
        let Range { start, end } = found.range;
        if end > self.flush_lsn {
            let now = self.calling.wal_now(self.calling.deadline).await;
            let now = now.map_err(|silence| End::Failed(silence.to_string()))?;
            if end > now.flush_lsn {
                return Ok(Placed::Conflict {
                    detail: format!(
                        "the object that is there ends at {end}, beyond all that PostgreSQL has \
                         flushed ({})",
                        now.flush_lsn
                    ),
                });
            }
        }
        let files = Arc::clone(&self.files);
        let compared = self.archive.compute(move || {
            let ours = files.read(&found.range)?;
            Ok::<_, ReadError>(found.difference(&ours))
        });
        match compared
            .await
            .map_err(|error| End::Failed(error.to_string()))?
        {
            Ok(None) => Ok(Placed::Adopted { end }),
            Ok(Some(at)) => Ok(Placed::Conflict {
                detail: format!("the object that is there differs from our WAL at {at}"),
            }),
            Err(error) => Err(self.unreadable(start, &error).await),
        }
    }
}

async fn retry(attempts: &mut Attempts, failure: Failure) -> Result<(), End> {
    attempts.failed(failure).await.map_err(End::Failed)
}

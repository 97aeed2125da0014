//! Uploads in parts: one file, in which each part has a place of its own.
//!
//! Parts are usually of one size but for the last. So the first one that comes says how far apart
//! the places are, and a part that does not fit, or is sent again, gets one behind all of them. An
//! upload whose parts lie one behind the other is complete as it is; any other is copied.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Attributes, Disk, DiskError, Mode, Placed, Upload};

/// Most parts of an upload, as with S3.
const PARTS_MAX: u64 = 10_000;

/// Most bytes of a part: ten thousand of them fit into a file of any file system.
pub(crate) const PART_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The uploads in parts that are under way, by their ids.
#[derive(Debug, Default)]
pub(super) struct All(Mutex<HashMap<String, Arc<Pending>>>);

impl All {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Pending>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upload in parts. Dropped before it is complete, it is gone.
#[derive(Debug)]
pub(crate) struct Pending {
    bucket: String,
    key: String,
    attributes: Attributes,
    upload: Upload,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How far apart places are; null before the first part.
    stride: Option<u64>,
    /// Numbers whose places were given away.
    given: BTreeSet<u64>,
    /// Bytes given away behind all regular places.
    behind: u64,
    /// Parts that are being written.
    under_way: usize,
    is_complete: bool,
    parts: BTreeMap<u64, Part>,
}

/// A part that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where it begins in the file.
    pub(crate) at: u64,
    /// How long it is.
    pub(crate) bytes: u64,
    /// What it is named by when the upload is completed.
    pub(crate) tag: String,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a part of `bytes`: where it begins. Every one that is begun must be
    /// [ended](Self::end).
    ///
    /// # Errors
    /// [`DiskError::BadParts`] if there is no such number; [`DiskError::NoSuchUpload`] if the upload
    /// is complete.
    pub(crate) fn begin(&self, number: u64, bytes: u64) -> Result<u64, DiskError> {
        if !(1..=PARTS_MAX).contains(&number) || bytes > PART_BYTES_MAX {
            return Err(DiskError::BadParts);
        }
        let mut state = self.lock();
        if state.is_complete {
            return Err(DiskError::NoSuchUpload);
        }
        let stride = *state.stride.get_or_insert(bytes);
        state.under_way += 1;
        if bytes <= stride && state.given.insert(number) {
            return Ok((number - 1) * stride);
        }
        let at = PARTS_MAX * stride + state.behind;
        state.behind += bytes;
        Ok(at)
    }

    /// Writes bytes of a part.
    pub(crate) fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.upload.file.write_all_at(bytes, at)
    }

    /// A part is written, or given up.
    pub(crate) fn end(&self, number: u64, part: Option<Part>) {
        let mut state = self.lock();
        state.under_way -= 1;
        if let Some(part) = part {
            state.parts.insert(number, part);
        }
    }

    /// Takes the parts that are named, in order; nothing is written any more then.
    fn take(&self, named: &[(u64, String)]) -> Result<Vec<Part>, DiskError> {
        let mut state = self.lock();
        let in_order = named
            .windows(2)
            .all(|pair| matches!(pair, [(one, _), (next, _)] if one < next));
        if named.is_empty() || !in_order || state.under_way > 0 || state.is_complete {
            return Err(DiskError::BadParts);
        }
        let part = |(number, tag): &(u64, String)| {
            let part = state.parts.get(number).filter(|part| part.tag == *tag);
            part.cloned().ok_or(DiskError::BadParts)
        };
        let parts = named.iter().map(part).collect::<Result<_, _>>()?;
        state.is_complete = true;
        Ok(parts)
    }
}

impl Disk {
    /// Begins an upload in parts.
    pub(crate) fn begin_parts(
        &self,
        id: String,
        (bucket, key): (String, String),
        attributes: Attributes,
    ) -> Result<(), DiskError> {
        self.bucket(&bucket)?;
        let pending = Pending {
            bucket,
            key,
            attributes,
            upload: self.begin_upload()?,
            state: Mutex::default(),
        };
        self.in_parts.lock().insert(id, Arc::new(pending));
        Ok(())
    }

    /// The upload with this id, of this object.
    pub(crate) fn in_parts(
        &self,
        id: &str,
        (bucket, key): (&str, &str),
    ) -> Result<Arc<Pending>, DiskError> {
        let pending = self.in_parts.lock().get(id).cloned();
        pending
            .filter(|pending| pending.bucket == bucket && pending.key == key)
            .ok_or(DiskError::NoSuchUpload)
    }

    /// Gives an upload up.
    pub(crate) fn abort_parts(&self, id: &str, of: (&str, &str)) -> Result<(), DiskError> {
        self.in_parts(id, of)?;
        self.in_parts.lock().remove(id);
        Ok(())
    }

    /// Makes the named parts an object: all of it or nothing, and durably.
    pub(crate) fn complete_parts(
        &self,
        id: &str,
        of: (&str, &str),
        named: &[(u64, String)],
        mode: Mode,
    ) -> Result<Placed, DiskError> {
        let pending = self.in_parts(id, of)?;
        let parts = pending.take(named)?;
        self.in_parts.lock().remove(id);
        let mut end = 0;
        let in_a_row = parts.iter().all(|part| {
            let fits = part.at == end;
            end += part.bytes;
            fits
        });
        let (bucket, key) = of;
        if in_a_row {
            let upload = &pending.upload;
            upload.file.set_len(end)?;
            return upload.place(self, bucket, key, mode, &pending.attributes);
        }
        let mut copy = self.begin_upload()?;
        let mut from = &pending.upload.file;
        for part in parts {
            from.seek(SeekFrom::Start(part.at))?;
            io::copy(&mut from.take(part.bytes), &mut copy.file)?;
        }
        copy.place(self, bucket, key, mode, &pending.attributes)
    }
}

#[cfg(test)]
mod tests;

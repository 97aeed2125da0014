//! What an object of the archive is: a skippable zstd frame with metadata, then one zstd frame.
//!
//! ```text
//! 50 2A 4D 18 | length (4 bytes, little endian) | metadata as JSON | zstd frame of the content
//! ```
//!
//! Programs that decompress zstd step over the first frame (RFC 8878, 3.1.2). The metadata has the
//! SHA-256 of the plain content: what was damaged or put in the wrong place is found by whoever
//! reads it.

use std::io::Cursor;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::{BackupId, TimelineId};
use crate::units::Lsn;

/// Magic number of our skippable frame, of the sixteen that zstd sets aside.
const MAGIC: [u8; 4] = [0x50, 0x2A, 0x4D, 0x18];

/// Bytes before the metadata.
const HEAD: usize = 8;

/// Most bytes of metadata.
const METADATA_BYTES_MAX: usize = 4096;

/// As many bytes from the beginning of an object hold all of its metadata.
pub const PEEK_BYTES: usize = HEAD + METADATA_BYTES_MAX;

/// Largest plain content of one object: a chunk of WAL or a piece of a backup is never larger.
pub const CONTENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Timeline it belongs to.
    pub timeline: TimelineId,
    /// `system_identifier` of its cluster.
    pub system_identifier: u64,
    /// What its content is.
    pub content: Content,
    /// Bytes of the plain content.
    pub length: u64,
    /// SHA-256 of the plain content, lower-case hexadecimal.
    pub sha256: String,
}

/// What the content of an object is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Content {
    /// WAL from `start` up to `end`, as it is in the segment files.
    Wal {
        /// Number of the epoch.
        epoch: u32,
        /// PostgreSQL's timeline number.
        tli: u32,
        /// First byte.
        start: Lsn,
        /// The byte after the last one; may lie inside a record.
        end: Lsn,
    },
    /// A piece of a tar stream of a base backup.
    BackupPiece {
        /// The backup.
        backup: BackupId,
        /// Number of the piece (≥ 1).
        number: u32,
    },
    /// The manifest of a base backup.
    BackupManifest {
        /// The backup.
        backup: BackupId,
    },
}

/// What a writer says of an object; the rest is computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Timeline it belongs to.
    pub timeline: TimelineId,
    /// `system_identifier` of its cluster.
    pub system_identifier: u64,
    /// What its content is.
    pub content: Content,
}

/// Bytes that are not an object of ours, or a damaged one.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It does not begin with our frame.
    #[error("the object does not begin with a frame of metadata")]
    NotOurs,
    /// The metadata cannot be understood.
    #[error("the metadata of the object cannot be understood")]
    Metadata(#[source] serde_json::Error),
    /// The content cannot be decompressed.
    #[error("the content of the object cannot be decompressed")]
    Compression(#[source] std::io::Error),
    /// The content is not what the metadata says.
    #[error("the content of the object is damaged: {0}")]
    Damaged(&'static str),
    /// The content is larger than [`CONTENT_BYTES_MAX`].
    #[error("a content of {0} bytes is larger than an object may hold")]
    TooLarge(usize),
}

/// Makes an object of `plain`, compressed at `level` (zstd: -7..=22).
///
/// # Errors
/// [`FrameError::TooLarge`]; [`FrameError::Damaged`] if WAL is not as long as its label says;
/// [`FrameError::Compression`] if zstd fails.
pub fn encode(label: &Label, plain: &[u8], level: i32) -> Result<Vec<u8>, FrameError> {
    if plain.len() > CONTENT_BYTES_MAX {
        return Err(FrameError::TooLarge(plain.len()));
    }
    let metadata = Metadata {
        timeline: label.timeline,
        system_identifier: label.system_identifier,
        content: label.content.clone(),
        length: u64::try_from(plain.len()).map_err(|_| FrameError::TooLarge(plain.len()))?,
        sha256: sha256(plain),
    };
    check_length(&metadata)?;
    let json = serde_json::to_vec(&metadata).map_err(FrameError::Metadata)?;
    let length = u32::try_from(json.len()).map_err(|_| FrameError::NotOurs)?;
    let mut object = Vec::with_capacity(object_bytes_max(plain.len()));
    object.extend_from_slice(&MAGIC);
    object.extend_from_slice(&length.to_le_bytes());
    object.extend_from_slice(&json);
    let mut compressor = zstd::bulk::Compressor::new(level).map_err(FrameError::Compression)?;
    // Writes behind what is there: the only memory beside the plain content is the object.
    let mut behind = Cursor::new(object);
    behind.set_position(u64::try_from(HEAD + json.len()).unwrap_or(u64::MAX));
    compressor
        .compress_to_buffer(plain, &mut behind)
        .map_err(FrameError::Compression)?;
    let mut object = behind.into_inner();
    object.shrink_to_fit();
    Ok(object)
}

/// Most bytes of an object with `plain` bytes of content, however badly they compress.
pub fn object_bytes_max(plain: usize) -> usize {
    PEEK_BYTES + zstd::zstd_safe::compress_bound(plain)
}

/// Reads the metadata from the beginning of an object (its first [`PEEK_BYTES`] are enough).
///
/// # Errors
/// [`FrameError::NotOurs`] or [`FrameError::Metadata`].
pub fn peek(object: &[u8]) -> Result<Metadata, FrameError> {
    split(object).map(|(metadata, _)| metadata)
}

/// Reads a whole object and checks its content.
///
/// # Errors
/// [`FrameError`] if it is not ours or damaged in any way.
pub fn decode(object: &[u8]) -> Result<(Metadata, Vec<u8>), FrameError> {
    let (metadata, compressed) = split(object)?;
    let length = usize::try_from(metadata.length).unwrap_or(usize::MAX);
    if length > CONTENT_BYTES_MAX {
        return Err(FrameError::TooLarge(length));
    }
    // One byte of room more than promised, so that a longer content is found out.
    let plain = zstd::bulk::decompress(compressed, length + 1).map_err(FrameError::Compression)?;
    if plain.len() != length {
        return Err(FrameError::Damaged(
            "its length is not what the metadata says",
        ));
    }
    if sha256(&plain) != metadata.sha256 {
        return Err(FrameError::Damaged(
            "its SHA-256 is not what the metadata says",
        ));
    }
    Ok((metadata, plain))
}

fn split(object: &[u8]) -> Result<(Metadata, &[u8]), FrameError> {
    let (head, rest) = object.split_at_checked(HEAD).ok_or(FrameError::NotOurs)?;
    let (magic, length) = head
        .split_at_checked(MAGIC.len())
        .ok_or(FrameError::NotOurs)?;
    let length: [u8; 4] = length.try_into().map_err(|_| FrameError::NotOurs)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if magic != MAGIC || length > METADATA_BYTES_MAX {
        return Err(FrameError::NotOurs);
    }
    let (json, content) = rest.split_at_checked(length).ok_or(FrameError::NotOurs)?;
    let metadata: Metadata = serde_json::from_slice(json).map_err(FrameError::Metadata)?;
    check_length(&metadata)?;
    Ok((metadata, content))
}

fn check_length(metadata: &Metadata) -> Result<(), FrameError> {
    match metadata.content {
        Content::Wal { start, end, .. }
            if end.bytes().checked_sub(start.bytes()) != Some(metadata.length) =>
        {
            let what = "it is not as long as from its start to its end";
            Err(FrameError::Damaged(what))
        }
        Content::Wal { .. } | Content::BackupPiece { .. } | Content::BackupManifest { .. } => {
            Ok(())
        }
    }
}

/// SHA-256 in lower-case hexadecimal, as `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes everything");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        label_of(100_000)
    }

    fn label_of(length: u64) -> Label {
        Label {
            timeline: TimelineId::from_uuid(uuid::Uuid::from_u128(1)),
            system_identifier: 7_300_000_000_000_000_001,
            content: Content::Wal {
                epoch: 1,
                tli: 1,
                start: Lsn::from_bytes(0x100_0028),
                end: Lsn::from_bytes(0x100_0028 + length),
            },
        }
    }

    fn plain() -> Vec<u8> {
        (0..100_000_u32)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let object = encode(&label(), &plain(), 1).unwrap();
        let (metadata, content) = decode(&object).unwrap();
        assert_eq!(content, plain());
        assert_eq!(metadata.content, label().content);
        assert_eq!(
            metadata,
            peek(&object[..PEEK_BYTES.min(object.len())]).unwrap()
        );
    }

    #[test]
    fn any_program_that_knows_zstd_reads_the_content() {
        let mut objects = encode(&label(), &plain(), 1).unwrap();
        objects.extend(encode(&label_of(8), b"and more", 3).unwrap());
        let read = zstd::stream::decode_all(objects.as_slice()).unwrap();
        assert_eq!(read, [plain().as_slice(), b"and more"].concat());
    }

    #[test]
    fn any_flipped_or_missing_byte_is_found() {
        let object = encode(&label(), &plain(), 1).unwrap();
        for at in (0..object.len()).step_by(7) {
            let mut damaged = object.clone();
            damaged[at] ^= 0x40;
            // Who reads an object knows what it must be about.
            if let Ok((metadata, content)) = decode(&damaged) {
                assert_eq!(content, plain(), "byte {at}");
                assert_ne!(metadata, peek(&object).unwrap(), "byte {at}");
            }
            assert!(decode(&object[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_empty_content_is_a_content() {
        let object = encode(&label_of(0), b"", 1).unwrap();
        assert_eq!(decode(&object).unwrap().1, b"");
    }

    #[test]
    fn content_that_does_not_compress_fits() {
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        })
        .take(300_000)
        .collect();
        let object = encode(&label_of(300_000), &noise, 1).unwrap();
        assert!(object.len() <= object_bytes_max(noise.len()));
        assert_eq!(decode(&object).unwrap().1, noise);
    }

    #[test]
    fn wal_that_is_not_as_long_as_it_says_is_refused() {
        assert!(matches!(
            encode(&label_of(2), b"abc", 1),
            Err(FrameError::Damaged(_))
        ));
    }
}

//! The tar stream of a part, unpacked piece by piece: each piece can be written by itself, and again.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use shared::archive::manifest::{Manifest, Part};
use shared::process::Account;

/// A unit of a tar stream.
const TAR_BLOCK: u64 = 512;

/// Directory of links to tablespaces.
const TABLESPACES: &str = "pg_tblspc";

/// Checks that everything of a backup lies in the data directory, and nothing elsewhere.
pub(super) fn check(manifest: &Manifest) -> anyhow::Result<()> {
    let files = manifest.parts.iter().flat_map(|part| &part.files);
    let paths = files.map(|file| &file.path).chain(&manifest.directories);
    for path in paths {
        let mut parts = Path::new(path).components();
        ensure!(
            !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_))),
            "the manifest has the path {path:?}, which is not below the data directory"
        );
        ensure!(
            !path.starts_with(&format!("{TABLESPACES}/")),
            "the backup has a tablespace ({path}), and those cannot be restored"
        );
    }
    Ok(())
}

/// Where a part is unpacked.
#[derive(Debug)]
pub(super) struct Unpacking<'a> {
    pub(super) part: &'a Part,
    /// The data directory.
    pub(super) data: PathBuf,
    /// Whose files they are.
    pub(super) account: &'a Account,
}

/// A file in a stream.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    path: &'a str,
    /// Where its header is, where its content begins, and where the next header is.
    header: u64,
    content: u64,
    bytes: u64,
    next: u64,
}

fn places(part: &Part) -> impl Iterator<Item = Place<'_>> {
    let mut at = 0;
    part.files.iter().map(move |file| {
        let place = Place {
            path: &file.path,
            header: at,
            content: at + TAR_BLOCK,
            bytes: file.bytes,
            next: at + TAR_BLOCK + file.bytes.next_multiple_of(TAR_BLOCK),
        };
        at = place.next;
        place
    })
}

/// Bytes of files that lie in the first `offset` bytes of a part's stream.
pub(super) fn file_bytes(part: &Part, offset: u64) -> u64 {
    let done = places(part).map(|place| offset.saturating_sub(place.content).min(place.bytes));
    done.sum()
}

impl Unpacking<'_> {
    /// Writes what `piece` has, which begins at `offset` of the stream, and checks that it is what
    /// the manifest says. Blocks.
    pub(super) fn write(&self, piece: &[u8], offset: u64) -> anyhow::Result<()> {
        let length = u64::try_from(piece.len())?;
        let end = offset + length;
        ensure!(
            offset.is_multiple_of(TAR_BLOCK)
                && length.is_multiple_of(TAR_BLOCK)
                && end <= self.part.bytes,
            "it does not fit into the stream of its part"
        );
        let part_of = |from: u64, to: u64| -> anyhow::Result<&[u8]> {
            let within = |at: u64| usize::try_from(at.clamp(offset, end) - offset);
            piece
                .get(within(from)?..within(to)?)
                .context("a place lies in its piece")
        };
        let mut last = 0;
        for place in places(self.part) {
            last = place.next;
            if place.next <= offset || place.header >= end {
                continue;
            }
            let is_begun = place.header >= offset;
            if is_begun {
                check_header(part_of(place.header, place.content)?, &place)?;
            }
            let content_end = place.content + place.bytes;
            let content = part_of(place.content, content_end)?;
            if is_begun || !content.is_empty() {
                let at = offset.saturating_sub(place.content);
                self.write_file(place.path, content, at)
                    .with_context(|| format!("write {}", place.path))?;
            }
            let padding = part_of(content_end, place.next)?;
            ensure!(is_zero(padding), "there is something behind {}", place.path);
        }
        ensure!(
            is_zero(part_of(last, end)?),
            "there is something behind the last file"
        );
        Ok(())
    }

    fn write_file(&self, path: &str, content: &[u8], at: u64) -> anyhow::Result<()> {
        let path = self.data.join(path);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        if at == 0 {
            self.account.give(&path)?;
        }
        file.write_all_at(content, at)?;
        Ok(())
    }

    /// Checks that all files are there and whole. Blocks.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        for file in &self.part.files {
            let found = fs::metadata(self.data.join(&file.path))
                .with_context(|| format!("look at {}", file.path))?;
            ensure!(
                found.len() == file.bytes,
                "{} has {} bytes, not {}",
                file.path,
                found.len(),
                file.bytes
            );
        }
        Ok(())
    }
}

/// Makes the directories of a backup. Blocks.
pub(super) fn make_directories(
    manifest: &Manifest,
    data: &Path,
    account: &Account,
) -> io::Result<()> {
    let below = manifest.directories.iter().map(|path| data.join(path));
    for directory in [data.to_owned()].into_iter().chain(below) {
        account
            .make_private_directory(&directory)
            .map_err(io::Error::other)?;
    }
    Ok(())
}

fn check_header(header: &[u8], place: &Place<'_>) -> anyhow::Result<()> {
    let block: &[u8; 512] = header.try_into().context("a header is a whole block")?;
    let header = tar::Header::from_byte_slice(block);
    let path = header.path().context("its header has no path")?;
    if path != Path::new(place.path) || header.size()? != place.bytes {
        bail!(
            "it has {} with {} bytes where the manifest has {} with {}",
            path.display(),
            header.size()?,
            place.path,
            place.bytes
        );
    }
    Ok(())
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;

//! The tar stream of a part, made piece by piece from files that change meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use shared::archive::manifest;
use shared::units::Lsn;

use super::listing::{CONTROL_FILE, Listed};
use super::pages::is_good;

/// A piece is closed when it has this many bytes: small enough that a lost upload costs little.
pub(super) const PIECE_BYTES: usize = 16 * 1024 * 1024;

/// Most bytes read at once; a multiple of every size of a page.
const READ_BYTES: usize = 256 * 1024;

/// A unit of a tar stream.
const TAR_BLOCK: usize = 512;

/// Largest piece: what is read last may go over the edge, with its padding and the end of the
/// stream.
pub(super) const PIECE_BYTES_MAX: usize = PIECE_BYTES + READ_BYTES + 4 * TAR_BLOCK;

/// What all streams of a backup have in common.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The data directory.
    pub(super) data: PathBuf,
    /// Whether pages have checksums.
    pub(super) checksums: bool,
    /// Size of a page of a relation in bytes.
    pub(super) page_bytes: usize,
    /// Pages of a file of a relation.
    pub(super) pages_per_file: u32,
    /// The backup began here.
    pub(super) start_lsn: Lsn,
}

/// A stream and how far it is made.
#[derive(Debug)]
pub(super) struct TarStream {
    cluster: Arc<Cluster>,
    /// Files to come, the next one last.
    to_come: Vec<Listed>,
    open: Option<Open>,
    is_ended: bool,
    /// Files so far.
    pub(super) files: Vec<manifest::File>,
    /// Bytes so far.
    pub(super) bytes: u64,
    /// Pages whose checksum is wrong, `path:block`.
    pub(super) damaged_pages: Vec<String>,
}

#[derive(Debug)]
struct Open {
    file: File,
    listed: Listed,
    /// Bytes of it in the stream, in all and so far.
    bytes: u64,
    done: u64,
}

/// A piece of a stream.
#[derive(Debug)]
pub(super) struct Piece {
    /// Its content.
    pub(super) plain: Vec<u8>,
    /// Bytes of files in it.
    pub(super) file_bytes: u64,
}

impl TarStream {
    /// A stream of these files.
    pub(super) fn new(cluster: &Arc<Cluster>, mut files: Vec<Listed>) -> Self {
        files.reverse();
        Self {
            cluster: Arc::clone(cluster),
            to_come: files,
            open: None,
            is_ended: false,
            files: Vec::new(),
            bytes: 0,
            damaged_pages: Vec::new(),
        }
    }

    /// Makes the next piece; none after the last one. Blocks.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        if self.is_ended {
            return Ok(None);
        }
        let mut piece = Piece {
            plain: Vec::with_capacity(PIECE_BYTES_MAX),
            file_bytes: 0,
        };
        while piece.plain.len() < PIECE_BYTES && !self.is_ended {
            if let Some(open) = self.open.take() {
                self.read(open, &mut piece)?;
            } else if let Some(next) = self.to_come.pop() {
                self.begin(next, &mut piece)?;
            } else {
                piece.plain.resize(piece.plain.len() + 2 * TAR_BLOCK, 0);
                self.is_ended = true;
            }
        }
        self.bytes += u64::try_from(piece.plain.len()).unwrap_or(u64::MAX);
        Ok(Some(piece))
    }

    /// Writes the header of a file. One that has vanished was dropped after the backup began, and
    /// one that has grown gets its new pages from WAL.
    fn begin(&mut self, listed: Listed, piece: &mut Piece) -> io::Result<()> {
        let file = match File::open(self.cluster.data.join(&listed.path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let bytes = metadata.len().min(listed.bytes);
        let mut header = tar::Header::new_ustar();
        header.set_path(&listed.path)?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes);
        header.set_mode(metadata.mode() & 0o777);
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or_default());
        header.set_cksum();
        piece.plain.extend_from_slice(header.as_bytes());
        self.open = Some(Open {
            file,
            listed,
            bytes,
            done: 0,
        });
        Ok(())
    }

    /// Copies some of a file, and closes it when that was the rest. What was cut off meanwhile is
    /// zeros: WAL cuts it off too.
    fn read(&mut self, mut open: Open, piece: &mut Piece) -> io::Result<()> {
        let left = usize::try_from(open.bytes - open.done).unwrap_or(usize::MAX);
        let begin = piece.plain.len();
        piece.plain.resize(begin + left.min(READ_BYTES), 0);
        let (_, block) = piece.plain.split_at_mut(begin);
        let read = if open.listed.path == CONTROL_FILE {
            read_untorn(&open.file, block)?
        } else {
            read_full(&open.file, block, open.done)?
        };
        if let Some(segment) = open.listed.segment.filter(|_| self.cluster.checksums) {
            let (block, _) = block.split_at_mut(read);
            self.check(&open, segment, block)?;
        }
        let added = u64::try_from(piece.plain.len() - begin).unwrap_or(u64::MAX);
        open.done += added;
        piece.file_bytes += added;
        if open.done < open.bytes {
            self.open = Some(open);
            return Ok(());
        }
        let padded = piece.plain.len().next_multiple_of(TAR_BLOCK);
        // Headers and padding are whole blocks, and so is what a piece begins with.
        piece.plain.resize(padded, 0);
        self.files.push(manifest::File {
            path: open.listed.path,
            bytes: open.bytes,
        });
        Ok(())
    }

    /// Checks pages; one that looks damaged is read once more, because PostgreSQL may have been
    /// writing it.
    fn check(&mut self, open: &Open, segment: u32, block: &mut [u8]) -> io::Result<()> {
        let cluster = &self.cluster;
        let first = open.done / u64::try_from(cluster.page_bytes).unwrap_or(u64::MAX);
        let first = u32::try_from(first).map_err(io::Error::other)?;
        let mut number = segment
            .saturating_mul(cluster.pages_per_file)
            .saturating_add(first);
        let mut offset = open.done;
        for page in block.chunks_exact_mut(cluster.page_bytes) {
            if !is_good(page, number, cluster.start_lsn) {
                read_full(&open.file, page, offset)?;
                if !is_good(page, number, cluster.start_lsn) {
                    let damaged = format!("{}:{number}", open.listed.path);
                    tracing::error!(page = damaged, "a page is damaged");
                    self.damaged_pages.push(damaged);
                }
            }
            number = number.saturating_add(1);
            offset += u64::try_from(page.len()).unwrap_or_default();
        }
        Ok(())
    }
}

/// Reads as much as there is, up to the length of `buffer`. Gives how much.
fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        let at = offset + u64::try_from(read).unwrap_or_default();
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Reads a small file from its beginning until two reads are the same: no WAL repairs this one.
fn read_untorn(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    const READS_MAX: usize = 100;
    let mut before = Vec::new();
    for _ in 0..READS_MAX {
        let read = read_full(file, buffer, 0)?;
        if before == buffer {
            return Ok(read);
        }
        before = buffer.to_vec();
    }
    Err(io::Error::other("the control file changes all the time"))
}

#[cfg(test)]
mod tests;

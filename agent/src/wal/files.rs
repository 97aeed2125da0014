//! The segment files of a running PostgreSQL, read while it writes on.
//!
//! PostgreSQL gives a segment that it does not need any more the name of a later one, and writes
//! over it. Whoever has it open then reads something else, so a file is looked at again after it
//! was read, and every page must say where it belongs.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

use shared::units::Lsn;

/// Where in the header of a page the position is that it belongs to.
const PAGE_ADDRESS: Range<usize> = 8..16;

/// Where in the header of the first page of a segment the `system_identifier` of its cluster is.
const CLUSTER_AT: u64 = 24;

/// Bytes of the shortest header. After a switch of segments the rest of the old one is empty: its
/// headers are zeros.
const HEADER_BYTES: usize = 24;

/// Where the WAL of a PostgreSQL is.
#[derive(Debug)]
pub(super) struct WalFiles {
    /// The directory of the segments.
    pub(super) directory: PathBuf,
    /// `system_identifier` of the cluster.
    pub(super) system_identifier: u64,
    /// PostgreSQL's timeline number that is written now.
    pub(super) tli: u32,
    /// Size of a segment in bytes.
    pub(super) segment_bytes: u64,
    /// Size of a page in bytes.
    pub(super) page_bytes: u64,
}

/// WAL that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// PostgreSQL has removed the segment.
    #[error("the segment of {0} is gone")]
    Gone(Lsn),
    /// A page is not where it says that it belongs.
    #[error("the page at {0} says that it is another one")]
    OtherPage(Lsn),
    /// The segment is of another cluster: the data directory was replaced.
    #[error("the segment of {0} is of cluster {1}")]
    OtherCluster(Lsn, u64),
    /// The file cannot be read.
    #[error("failed to read WAL at {0}: {1}")]
    Read(Lsn, #[source] io::Error),
}

impl WalFiles {
    /// The name of the segment that holds `at`.
    fn name(&self, at: Lsn) -> String {
        let segments_per_id = 0x1_0000_0000 / self.segment_bytes;
        let segment = at.bytes() / self.segment_bytes;
        let (id, number) = (segment / segments_per_id, segment % segments_per_id);
        format!("{:08X}{id:08X}{number:08X}", self.tli)
    }

    /// Reads a range that lies in one segment. Blocks.
    pub(super) fn read(&self, range: &Range<Lsn>) -> Result<Vec<u8>, ReadError> {
        let start = range.start;
        let path = self.directory.join(self.name(start));
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::Gone(start),
            _ => ReadError::Read(start, error),
        };
        let file = File::open(&path).map_err(failed)?;
        let length = range.end.bytes().saturating_sub(start.bytes());
        let length = usize::try_from(length).map_err(|error| failed(io::Error::other(error)))?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, start.bytes() % self.segment_bytes)
            .map_err(failed)?;
        let (opened, named) = (file.metadata(), fs::metadata(&path));
        if opened.map_err(failed)?.ino() != named.map_err(failed)?.ino() {
            return Err(ReadError::Gone(start));
        }
        let mut cluster = [0; 8];
        file.read_exact_at(&mut cluster, CLUSTER_AT)
            .map_err(failed)?;
        let cluster = u64::from_ne_bytes(cluster);
        if cluster != self.system_identifier {
            return Err(ReadError::OtherCluster(start, cluster));
        }
        self.check_pages(start, &bytes)?;
        Ok(bytes)
    }

    fn check_pages(&self, start: Lsn, bytes: &[u8]) -> Result<(), ReadError> {
        let mut page = start.bytes().next_multiple_of(self.page_bytes);
        loop {
            let offset = usize::try_from(page - start.bytes()).unwrap_or(usize::MAX);
            let header = offset
                .checked_add(HEADER_BYTES)
                .and_then(|end| bytes.get(offset..end));
            let Some(header) = header else {
                return Ok(());
            };
            let address = header.get(PAGE_ADDRESS).and_then(|own| own.try_into().ok());
            let is_right = address.is_some_and(|own: [u8; 8]| u64::from_ne_bytes(own) == page);
            if !is_right && header.iter().any(|byte| *byte != 0) {
                return Err(ReadError::OtherPage(Lsn::from_bytes(page)));
            }
            page += self.page_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    const CLUSTER: u64 = 7_300_000_000_000_000_001;

    fn files(directory: PathBuf, segment_bytes: u64) -> WalFiles {
        WalFiles {
            directory,
            system_identifier: CLUSTER,
            tli: 0x1F,
            segment_bytes,
            page_bytes: 8192,
        }
    }

    #[test]
    fn a_segment_is_named_as_postgres_names_it() {
        let name =
            |at, segment_bytes| files(PathBuf::new(), segment_bytes).name(Lsn::from_bytes(at));
        // As pg_walfile_name() answers.
        assert_eq!(name(0x016B_3748, 16 * MIB), "0000001F0000000000000001");
        assert_eq!(name(0x2_FF00_0000, 16 * MIB), "0000001F00000002000000FF");
        assert_eq!(name(0x2_FFF0_0000, MIB), "0000001F0000000200000FFF");
        assert_eq!(name(0x3_4000_0000, 1024 * MIB), "0000001F0000000300000001");
        assert_eq!(name(0x0500_0000, 64 * MIB), "0000001F0000000000000001");
    }

    /// A segment whose pages say where they belong, at 1 MiB.
    fn segment() -> Vec<u8> {
        let mut bytes = vec![7_u8; usize::try_from(MIB).unwrap()];
        for (page, at) in bytes.chunks_mut(8192).zip((MIB..).step_by(8192)) {
            page[PAGE_ADDRESS].copy_from_slice(&at.to_ne_bytes());
        }
        bytes[24..32].copy_from_slice(&CLUSTER.to_ne_bytes());
        bytes
    }

    fn read(bytes: &[u8], start: u64, end: u64) -> Result<Vec<u8>, ReadError> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("0000001F0000000000000001"), bytes).unwrap();
        let range = Lsn::from_bytes(start)..Lsn::from_bytes(end);
        files(directory.path().to_owned(), MIB).read(&range)
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let all = segment();
        assert_eq!(read(&all, MIB, 2 * MIB).unwrap(), all);
        assert_eq!(read(&all, MIB + 100, MIB + 9000).unwrap(), all[100..9000]);
        assert_eq!(read(&all, MIB + 8190, MIB + 8200).unwrap(), all[8190..8200]);
    }

    #[test]
    fn a_page_from_elsewhere_is_found() {
        let mut all = segment();
        all[3 * 8192 + 8] ^= 1;
        assert!(matches!(
            read(&all, MIB + 1, 2 * MIB),
            Err(ReadError::OtherPage(at)) if at.bytes() == MIB + 3 * 8192
        ));
        assert!(read(&all, MIB, MIB + 3 * 8192).is_ok());
        all[3 * 8192..].fill(0);
        assert_eq!(read(&all, MIB, 2 * MIB).unwrap(), all, "after a switch");
    }

    #[test]
    fn a_segment_of_another_cluster_is_found() {
        let mut all = segment();
        all[24] ^= 1;
        for start in [MIB, MIB + 9000] {
            assert!(matches!(
                read(&all, start, 2 * MIB),
                Err(ReadError::OtherCluster(at, other)) if at.bytes() == start && other != CLUSTER
            ));
        }
    }

    #[test]
    fn a_segment_that_is_not_there_is_gone() {
        assert!(matches!(
            read(&segment(), 2 * MIB, 3 * MIB),
            Err(ReadError::Gone(_))
        ));
        assert!(matches!(
            read(&segment()[..100], MIB, 2 * MIB),
            Err(ReadError::Read(..))
        ));
    }
}

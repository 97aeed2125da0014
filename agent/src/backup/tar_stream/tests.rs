use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;

use super::*;

fn cluster(data: &std::path::Path, checksums: bool) -> Arc<Cluster> {
    Arc::new(Cluster {
        data: data.to_owned(),
        checksums,
        page_bytes: 8192,
        pages_per_file: 131_072,
        start_lsn: Lsn::from_bytes(1000),
    })
}

fn listed(path: &str, bytes: usize, segment: Option<u32>) -> Listed {
    Listed {
        path: path.to_owned(),
        bytes: u64::try_from(bytes).unwrap(),
        segment,
    }
}

fn pieces(stream: &mut TarStream) -> Vec<Piece> {
    std::iter::from_fn(|| stream.next_piece().unwrap()).collect()
}

fn unpack(pieces: &[Piece]) -> BTreeMap<String, Vec<u8>> {
    let plain: Vec<&[u8]> = pieces.iter().map(|piece| piece.plain.as_slice()).collect();
    let bytes = plain.concat();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path, content)
    });
    entries.collect()
}

#[test]
fn files_are_packed_as_long_as_they_were_listed() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("base")).unwrap();
    let write = |path: &str, content: &[u8]| fs::write(data.path().join(path), content).unwrap();
    let large: Vec<u8> = (0..PIECE_BYTES + 3_000_001)
        .map(|n| u8::try_from(n % 241).unwrap())
        .collect();
    write("base/large", &large);
    write("empty", b"");
    write("grown", b"abcdef");
    write("cut", b"ab");
    let mut stream = TarStream::new(
        &cluster(data.path(), true),
        vec![
            listed("base/large", large.len(), None),
            listed("empty", 0, None),
            listed("grown", 3, None),
            listed("cut", 5, None),
            listed("vanished", 5, None),
        ],
    );
    let pieces = pieces(&mut stream);
    assert_eq!(pieces.len(), 2);
    assert!(
        pieces
            .iter()
            .all(|piece| piece.plain.len() <= PIECE_BYTES_MAX)
    );
    let all: usize = pieces.iter().map(|piece| piece.plain.len()).sum();
    assert_eq!(stream.bytes, u64::try_from(all).unwrap());
    let file_bytes: u64 = pieces.iter().map(|piece| piece.file_bytes).sum();
    assert_eq!(file_bytes, u64::try_from(large.len() + 5).unwrap());
    let unpacked = unpack(&pieces);
    let expected = BTreeMap::from([
        ("base/large".to_owned(), large),
        ("empty".to_owned(), Vec::new()),
        ("grown".to_owned(), b"abc".to_vec()),
        ("cut".to_owned(), b"ab".to_vec()),
    ]);
    assert!(unpacked == expected);
    let files: Vec<(&str, u64)> = stream
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.bytes))
        .collect();
    let large = u64::try_from(PIECE_BYTES + 3_000_001).unwrap();
    let expected = [
        ("base/large", large),
        ("empty", 0),
        ("grown", 3),
        ("cut", 2),
    ];
    assert_eq!(files, expected);
}

#[test]
fn a_file_that_is_cut_off_while_it_is_read_is_filled_with_zeros() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("shrinks");
    let length = PIECE_BYTES + READ_BYTES * 3;
    fs::write(&path, vec![7; length]).unwrap();
    let files = vec![listed("shrinks", length, None)];
    let mut stream = TarStream::new(&cluster(data.path(), true), files);
    let first = stream.next_piece().unwrap().unwrap();
    let shrunk = PIECE_BYTES + READ_BYTES;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(u64::try_from(shrunk).unwrap()).unwrap();
    let mut packed = vec![first];
    packed.extend(pieces(&mut stream));
    let unpacked = unpack(&packed);
    let content = &unpacked["shrinks"];
    assert_eq!(content.len(), length);
    assert!(content[..shrunk].iter().all(|byte| *byte == 7));
    assert!(content[shrunk..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_damaged_page_is_named_by_its_place_in_the_relation() {
    let data = tempfile::tempdir().unwrap();
    let mut pages = vec![0; 3 * 8192];
    // A page that is in use, changed before the backup began, with a wrong checksum.
    pages[8192 + 4] = 1;
    pages[8192 + 14] = 1;
    fs::write(data.path().join("100.2"), &pages).unwrap();
    let files = vec![listed("100.2", pages.len(), Some(2))];
    let mut stream = TarStream::new(&cluster(data.path(), true), files.clone());
    let packed = pieces(&mut stream);
    assert_eq!(stream.damaged_pages, ["100.2:262145"]);
    assert_eq!(unpack(&packed)["100.2"], pages);
    let mut unchecked = TarStream::new(&cluster(data.path(), false), files);
    pieces(&mut unchecked);
    assert!(unchecked.damaged_pages.is_empty());
}

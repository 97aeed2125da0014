use std::io::Read as _;

use tempfile::TempDir;

use super::*;

const OF: (&str, &str) = ("archive", "a/b");

fn begun() -> (TempDir, Disk) {
    let directory = TempDir::new().unwrap();
    let disk = Disk::open(directory.path()).unwrap();
    disk.make_bucket(OF.0).unwrap();
    begin(&disk);
    (directory, disk)
}

fn begin(disk: &Disk) {
    let of = (OF.0.to_owned(), OF.1.to_owned());
    disk.begin_parts("id".to_owned(), of, Attributes::default())
        .unwrap();
}

/// Uploads a part of `bytes` that all are its number; its tag.
fn part(disk: &Disk, number: u64, bytes: u64) -> (u64, String) {
    let pending = disk.in_parts("id", OF).unwrap();
    let at = pending.begin(number, bytes).unwrap();
    let content = vec![u8::try_from(number).unwrap(); usize::try_from(bytes).unwrap()];
    pending.write_at(&content, at).unwrap();
    let tag = format!("{number} at {at}");
    let there = Part {
        at,
        bytes,
        tag: tag.clone(),
    };
    pending.end(number, Some(there));
    (number, tag)
}

fn complete(disk: &Disk, named: &[(u64, String)]) -> Result<Placed, DiskError> {
    disk.complete_parts("id", OF, named, Mode::IfAbsent)
}

fn read(disk: &Disk) -> Vec<u8> {
    let (mut file, found, _) = disk.open_object(OF.0, OF.1).unwrap().unwrap();
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(u64::try_from(content.len()).unwrap(), found.bytes);
    content
}

fn expected(parts: &[(u8, usize)]) -> Vec<u8> {
    let parts = parts.iter();
    parts
        .flat_map(|(number, bytes)| vec![*number; *bytes])
        .collect()
}

#[test]
fn parts_become_one_object_in_whatever_order_they_come() {
    let (_directory, disk) = begun();
    let mut named: Vec<_> = [(2, 100), (1, 100), (3, 7)]
        .map(|(number, bytes)| part(&disk, number, bytes))
        .into();
    named.sort();
    assert!(matches!(complete(&disk, &named), Ok(Placed::Stored(_))));
    assert_eq!(read(&disk), expected(&[(1, 100), (2, 100), (3, 7)]));
    begin(&disk);
    let again = [part(&disk, 1, 5)];
    assert!(matches!(complete(&disk, &again), Ok(Placed::AlreadyThere)));
    assert_eq!(read(&disk).len(), 207, "it is as it was");
}

#[test]
fn parts_of_any_size_and_those_sent_again_are_put_together() {
    let (_directory, disk) = begun();
    // The last part comes first, so that the others do not fit into places as large.
    let last = part(&disk, 4, 7);
    let first = part(&disk, 1, 100);
    let old = part(&disk, 2, 50);
    let second = part(&disk, 2, 60);
    part(&disk, 3, 9);
    let named = [first.clone(), old, last.clone()];
    assert!(matches!(complete(&disk, &named), Err(DiskError::BadParts)));
    let named = [first, second, last];
    assert!(matches!(complete(&disk, &named), Ok(Placed::Stored(_))));
    assert_eq!(read(&disk), expected(&[(1, 100), (2, 60), (4, 7)]));
}

#[test]
fn only_what_was_uploaded_is_completed_and_only_once() {
    let (_directory, disk) = begun();
    let bad = |named: &[(u64, String)]| matches!(complete(&disk, named), Err(DiskError::BadParts));
    assert!(bad(&[]));
    assert!(bad(&[(1, "1 at 0".to_owned())]));
    let first = part(&disk, 1, 10);
    let second = part(&disk, 2, 10);
    assert!(bad(&[second.clone(), first.clone()]), "out of order");
    let pending = disk.in_parts("id", OF).unwrap();
    pending.begin(3, 10).unwrap();
    assert!(bad(std::slice::from_ref(&first)), "a part is being written");
    pending.end(3, None);
    assert!(complete(&disk, &[first, second]).is_ok());
    assert!(matches!(pending.begin(4, 10), Err(DiskError::NoSuchUpload)));
    assert!(matches!(complete(&disk, &[]), Err(DiskError::NoSuchUpload)));
    assert_eq!(read(&disk).len(), 20);
}

#[test]
fn an_upload_in_parts_that_is_given_up_leaves_nothing() {
    let (directory, disk) = begun();
    part(&disk, 1, 10);
    let other = disk.abort_parts("id", (OF.0, "a/c"));
    assert!(matches!(other, Err(DiskError::NoSuchUpload)));
    disk.abort_parts("id", OF).unwrap();
    let uploads = std::fs::read_dir(directory.path().join("uploads")).unwrap();
    assert_eq!(uploads.count(), 0);
    assert!(disk.open_object(OF.0, OF.1).unwrap().is_none());
}

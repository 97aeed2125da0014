use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Barrier};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const BUCKET: &str = "archive";

fn disk() -> (TempDir, Disk) {
    let directory = TempDir::new().unwrap();
    let disk = Disk::open(directory.path()).unwrap();
    disk.make_bucket(BUCKET).unwrap();
    (directory, disk)
}

fn put(disk: &Disk, key: &str, content: &[u8], mode: Mode) -> Placed {
    let mut upload = disk.begin_upload().unwrap();
    upload.write(content).unwrap();
    let attributes = Attributes::default();
    upload.place(disk, BUCKET, key, mode, &attributes).unwrap()
}

fn get(disk: &Disk, key: &str) -> Option<Vec<u8>> {
    let (mut file, found, _) = disk.open_object(BUCKET, key).unwrap()?;
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(u64::try_from(content.len()).unwrap(), found.bytes);
    Some(content)
}

/// Every name below `prefix` and after `after`, by a walk over the files.
fn names(disk: &Disk, prefix: &str, after: Option<&str>) -> Vec<String> {
    let mut names = Vec::new();
    let wanted = Wanted {
        prefix,
        after,
        past: None,
    };
    disk.walk(BUCKET, wanted, &mut |key, _| {
        names.push(key.to_owned());
        Ok(Step::Next)
    })
    .unwrap();
    names
}

/// Files and directories of the bucket, and uploads.
fn entries(disk: &Disk) -> usize {
    fn count(directory: &Path) -> usize {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| 1 + if path.is_dir() { count(&path) } else { 0 })
            .sum()
    }
    count(&disk.bucket(BUCKET).unwrap()) + count(&disk.uploads)
}

#[derive(Debug, Clone)]
enum Deed {
    Put(String, u8, Mode),
    Delete(String),
    List(String, Option<String>),
}

/// Few different names, so that they meet: prefixes of each other, long parts, empty parts.
fn key() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            Just("a".to_owned()),
            Just("/".to_owned()),
            Just(".".to_owned()),
            Just("-".to_owned()),
            Just("x".repeat(64)),
        ],
        1..5,
    )
    .prop_map(|parts| parts.concat())
}

fn deed() -> impl Strategy<Value = Deed> {
    let mode = prop_oneof![Just(Mode::Overwrite), Just(Mode::IfAbsent)];
    prop_oneof![
        4 => (key(), any::<u8>(), mode).prop_map(|(key, byte, mode)| Deed::Put(key, byte, mode)),
        2 => key().prop_map(Deed::Delete),
        1 => (key(), prop::option::of(key())).prop_map(|(prefix, after)| Deed::List(prefix, after)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn files_do_what_a_map_does(deeds in prop::collection::vec(deed(), 1..40)) {
        let (_directory, disk) = disk();
        let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for deed in deeds {
            match deed {
                Deed::Put(key, byte, mode) => {
                    let placed = put(&disk, &key, &[byte; 3], mode);
                    let free = mode == Mode::Overwrite || !model.contains_key(&key);
                    prop_assert_eq!(matches!(placed, Placed::Stored(_)), free);
                    if free {
                        model.insert(key.clone(), vec![byte; 3]);
                    }
                    prop_assert_eq!(get(&disk, &key), model.get(&key).cloned());
                }
                Deed::Delete(key) => {
                    disk.delete(BUCKET, &key).unwrap();
                    model.remove(&key);
                    prop_assert_eq!(get(&disk, &key), None);
                }
                Deed::List(prefix, after) => {
                    let expected: Vec<String> = model
                        .keys()
                        .filter(|key| key.starts_with(&prefix))
                        .filter(|key| after.as_ref().is_none_or(|after| *key > after))
                        .cloned()
                        .collect();
                    prop_assert_eq!(names(&disk, &prefix, after.as_deref()), expected);
                }
            }
        }
        let all: Vec<String> = model.keys().cloned().collect();
        prop_assert_eq!(names(&disk, "", None), all);
        for key in model.keys() {
            disk.delete(BUCKET, key).unwrap();
        }
        prop_assert_eq!(entries(&disk), 0, "something is left of what was deleted");
    }
}

#[test]
fn exactly_one_of_racing_uploads_wins_and_is_what_is_read() {
    let (_directory, disk) = disk();
    let disk = Arc::new(disk);
    for round in 0..20 {
        let key = format!("race/{round}/x");
        let start = Arc::new(Barrier::new(24));
        let racers: Vec<_> = (0..24_u8)
            .map(|racer| {
                let (disk, key, start) = (Arc::clone(&disk), key.clone(), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    let placed = put(&disk, &key, &[racer; 4096], Mode::IfAbsent);
                    matches!(placed, Placed::Stored(_)).then_some(racer)
                })
            })
            .collect();
        let winners: Vec<u8> = racers
            .into_iter()
            .filter_map(|racer| racer.join().unwrap())
            .collect();
        let [winner] = winners[..] else {
            panic!("{winners:?} won");
        };
        assert_eq!(get(&disk, &key), Some(vec![winner; 4096]));
    }
}

#[test]
fn uploads_and_deletes_in_one_directory_do_not_disturb_each_other() {
    let (_directory, disk) = disk();
    let disk = Arc::new(disk);
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let disk = Arc::clone(&disk);
            std::thread::spawn(move || {
                for _ in 0..40 {
                    let key = format!("a/b/c/{worker}");
                    let placed = put(&disk, &key, b"content", Mode::IfAbsent);
                    assert!(matches!(placed, Placed::Stored(_)));
                    assert_eq!(get(&disk, &key).as_deref(), Some(&b"content"[..]));
                    disk.delete(BUCKET, &key).unwrap();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(entries(&disk), 0);
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    let (_directory, disk) = disk();
    let mut upload = disk.begin_upload().unwrap();
    upload.write(b"half of it").unwrap();
    assert_eq!(entries(&disk), 1);
    drop(upload);
    assert_eq!(entries(&disk), 0);
}

#[test]
fn what_a_crash_left_of_uploads_is_removed_and_objects_stay() {
    let (directory, disk) = disk();
    put(&disk, "a/b", b"stays", Mode::IfAbsent);
    std::mem::forget(disk.begin_upload().unwrap());
    drop(disk);
    let disk = Disk::open(directory.path()).unwrap();
    assert_eq!(get(&disk, "a/b").as_deref(), Some(&b"stays"[..]));
    assert_eq!(entries(&disk), 2);
}

#[test]
fn one_server_for_a_root_at_a_time() {
    let (directory, disk) = disk();
    assert!(matches!(
        Disk::open(directory.path()),
        Err(DiskError::Taken(_))
    ));
    drop(disk);
    Disk::open(directory.path()).unwrap();
}

#[test]
fn buckets_are_made_first() {
    let (_directory, disk) = disk();
    assert!(!disk.make_bucket(BUCKET).unwrap());
    for bad in ["..", "a", "UPPER", "a/b", "", "lock/.."] {
        assert!(matches!(
            disk.make_bucket(bad),
            Err(DiskError::BadBucketName(_))
        ));
    }
    let upload = disk.begin_upload().unwrap();
    let placed = upload.place(&disk, "other", "a", Mode::IfAbsent, &Attributes::default());
    assert!(matches!(placed, Err(DiskError::NoSuchBucket(_))));
}

#[test]
fn each_content_of_a_name_has_a_tag_of_its_own() {
    let (_directory, disk) = disk();
    let tags: Vec<String> = (0..10)
        .map(|_| match put(&disk, "a", b"same", Mode::Overwrite) {
            Placed::Stored(found) => found.tag,
            Placed::AlreadyThere => panic!("not overwritten"),
        })
        .collect();
    let different: BTreeSet<&String> = tags.iter().collect();
    assert_eq!(different.len(), tags.len(), "{tags:?}");
}

#[test]
fn an_md5_that_came_with_a_content_is_its_tag() {
    let (_directory, disk) = disk();
    let md5 = Some("9a0364b9e99bb480dd25e1f0284c8555".to_owned());
    let mut upload = disk.begin_upload().unwrap();
    upload.write(b"content").unwrap();
    let attributes = Attributes {
        md5: md5.clone(),
        ..Attributes::default()
    };
    let placed = upload.place(&disk, BUCKET, "a", Mode::IfAbsent, &attributes);
    let Ok(Placed::Stored(stored)) = placed else {
        panic!("{placed:?}");
    };
    let (_, opened, _) = disk.open_object(BUCKET, "a").unwrap().unwrap();
    let path = disk.bucket(BUCKET).unwrap().join(names::path_of("a"));
    let listed = Disk::look(&path).unwrap();
    let tags = [stored, opened, listed.unwrap()].map(|found| Some(found.tag));
    assert_eq!(tags, [md5.clone(), md5.clone(), md5]);
}

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::disk::{Attributes, Mode};

const BUCKET: &str = "archive";

/// What a list must have, made from all names.
fn expected(keys: &BTreeSet<String>, prefix: &str, delimiter: Option<&str>) -> Vec<String> {
    let mut lines: Vec<String> = keys
        .iter()
        .filter(|key| key.starts_with(prefix))
        .map(
            |key| match delimiter.and_then(|mark| key[prefix.len()..].find(mark)) {
                Some(at) => format!("group {}", &key[..=(prefix.len() + at)]),
                None => format!("object {key}"),
            },
        )
        .collect();
    lines.dedup();
    lines
}

/// All pages of a list, one after the other.
fn pages(disk: &Disk, prefix: &str, delimiter: Option<&str>, page: i32) -> Vec<String> {
    let (mut lines, mut token) = (BTreeMap::new(), None);
    let mut order = Vec::new();
    loop {
        let input = ListObjectsV2Input {
            bucket: BUCKET.to_owned(),
            prefix: Some(prefix.to_owned()),
            delimiter: delimiter.map(ToOwned::to_owned),
            max_keys: Some(page),
            continuation_token: token,
            ..ListObjectsV2Input::default()
        };
        let output = list(disk, input).unwrap();
        let objects = output.contents.unwrap().into_iter();
        let groups = output.common_prefixes.unwrap().into_iter();
        let mut of_page: Vec<(String, &str)> = objects
            .map(|object| (object.key.unwrap(), "object"))
            .chain(groups.map(|group| (group.prefix.unwrap(), "group")))
            .collect();
        of_page.sort();
        assert!(of_page.len() <= usize::try_from(page).unwrap());
        for (name, kind) in of_page {
            assert!(lines.insert(name.clone(), kind).is_none(), "{name} twice");
            order.push(format!("{kind} {name}"));
        }
        token = output.next_continuation_token;
        assert_eq!(token.is_some(), output.is_truncated.unwrap());
        if token.is_none() {
            return order;
        }
    }
}

fn disk_with(keys: &BTreeSet<String>) -> (TempDir, Disk) {
    let directory = TempDir::new().unwrap();
    let disk = Disk::open(directory.path()).unwrap();
    disk.make_bucket(BUCKET).unwrap();
    for key in keys {
        let upload = disk.begin_upload().unwrap();
        upload
            .place(&disk, BUCKET, key, Mode::Overwrite, &Attributes::default())
            .unwrap();
    }
    (directory, disk)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_of_any_size_have_every_name_once_and_in_order(
        keys in prop::collection::btree_set("[ab/-]{1,5}", 0..30),
        prefix in "[ab/]{0,2}",
        page in 1_i32..6,
    ) {
        let (_directory, disk) = disk_with(&keys);
        for delimiter in [None, Some("/"), Some("-")] {
            prop_assert_eq!(
                pages(&disk, &prefix, delimiter, page),
                expected(&keys, &prefix, delimiter)
            );
        }
    }

    #[test]
    fn a_token_says_what_was_written(name in "\\PC{0,20}") {
        for position in [Position::After(name.clone()), Position::Past(name.clone())] {
            prop_assert_eq!(Position::read(&position.token()), Some(position));
        }
    }
}

#[test]
fn a_token_of_somebody_else_is_refused() {
    for token in ["", "x", "k%", "k%zz", "k%ff", "äöü"] {
        assert_eq!(Position::read(token), None, "{token:?}");
    }
}

#[test]
fn names_are_encoded_for_clients_that_ask() {
    let keys = BTreeSet::from(["a b/ä&\u{1}".to_owned()]);
    let (_directory, disk) = disk_with(&keys);
    let input = ListObjectsV2Input {
        bucket: BUCKET.to_owned(),
        encoding_type: Some(EncodingType::from_static(EncodingType::URL)),
        ..ListObjectsV2Input::default()
    };
    let output = list(&disk, input).unwrap();
    assert_eq!(
        output.contents.unwrap()[0].key.as_deref(),
        Some("a%20b/%C3%A4%26%01")
    );
}

#[test]
fn a_page_without_room_is_empty() {
    let (_directory, disk) = disk_with(&BTreeSet::from(["a".to_owned()]));
    let input = ListObjectsV2Input {
        bucket: BUCKET.to_owned(),
        max_keys: Some(0),
        ..ListObjectsV2Input::default()
    };
    let output = list(&disk, input).unwrap();
    assert_eq!(output.is_truncated, Some(false));
    assert_eq!(output.key_count, Some(0));
}

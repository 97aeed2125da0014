//! Names of objects as paths of files.
//!
//! A name is cut at its slashes, and each part becomes a directory, the last one a file. What is
//! not a letter, a digit, `-`, `_` or `.` is written `%XX`, as is a leading dot, so that no part
//! means anything to the file system. The rest of this alphabet tells kinds apart:
//!
//! ```text
//! a/b     a,/b        a directory ends with a comma: the objects "a" and "a/b" can both exist
//! a/      a,/%        an empty part that is an object
//! a//b    a,/,/b      an empty part that is a directory
//! aaa…    aa…+/a…     64 bytes of a part, which goes on below: names of files are limited
//! ```
//!
//! A part of 64 bytes or more always goes on below, if only with nothing. So the entries of one
//! directory, in the order of [`Entry::text`], and each followed by what is below it, are in the
//! order of the names, byte by byte, which is the order of S3's lists.

use std::path::PathBuf;

use crate::percent;

/// As many bytes of a part stand in one name of a file: three times as many and a mark are below
/// the 255 that file systems allow.
const PIECE: usize = 64;

/// Name of the file of an empty part.
const EMPTY: &str = "%";

const DIRECTORY: u8 = b',';
const CONTINUATION: u8 = b'+';

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An object.
    Object,
    /// Holds what goes on after a slash, or after 64 bytes of a long part.
    Directory,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it adds to the name of what is in it, or of itself if it is an object; a slash
    /// included.
    pub text: Vec<u8>,
    /// What it is.
    pub kind: Kind,
}

/// Path of the object `key`, relative to the directory of its bucket.
pub fn path_of(key: &str) -> PathBuf {
    let mut path = PathBuf::new();
    let mut parts = key.split('/').peekable();
    while let Some(part) = parts.next() {
        let mut rest = part.as_bytes();
        while let Some((piece, more)) = rest.split_at_checked(PIECE) {
            path.push(marked(piece, CONTINUATION));
            rest = more;
        }
        path.push(match (parts.peek(), rest) {
            (Some(_), rest) => marked(rest, DIRECTORY),
            (None, []) => EMPTY.to_owned(),
            (None, rest) => escaped(rest),
        });
    }
    path
}

/// Path of the deepest directory that holds every object whose name begins with `prefix`, relative
/// to the directory of the bucket, and what the names of everything in it begin with.
pub fn directory_of(prefix: &str) -> (PathBuf, &str) {
    match prefix.rfind('/') {
        None => (PathBuf::new(), ""),
        Some(slash) => {
            let (base, _) = prefix.split_at(slash + 1);
            let mut path = path_of(base);
            path.pop();
            (path, base)
        }
    }
}

/// Reads an entry of a directory; null if its name is none of ours.
pub fn read(name: &[u8]) -> Option<Entry> {
    let (kind, text) = match name.split_last()? {
        (&DIRECTORY, rest) => (Kind::Directory, [unescaped(rest)?, vec![b'/']].concat()),
        (&CONTINUATION, rest) => {
            let piece = unescaped(rest).filter(|piece| piece.len() == PIECE)?;
            return Some(Entry {
                text: piece,
                kind: Kind::Directory,
            });
        }
        _ if name == EMPTY.as_bytes() => (Kind::Object, Vec::new()),
        _ => (Kind::Object, unescaped(name)?),
    };
    let most = match kind {
        Kind::Object => PIECE - 1,
        Kind::Directory => PIECE,
    };
    (text.len() <= most).then_some(Entry { text, kind })
}

fn marked(piece: &[u8], mark: u8) -> String {
    let mut name = escaped(piece);
    name.push(char::from(mark));
    name
}

fn stands_for_itself(byte: u8, at: usize) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && at > 0)
}

fn escaped(bytes: &[u8]) -> String {
    percent::encoded(bytes, stands_for_itself)
}

/// Null unless `escaped` gives `text` again, and if there is a slash in it, which ends a part: two
/// files never have the same name.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let bytes = percent::decoded(text)?;
    (escaped(&bytes).as_bytes() == text && !bytes.contains(&b'/')).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    /// Names that mean something to file systems or to us, and ordinary ones.
    fn key() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[a-c/.%,+-]{0,4}",
            "\\PC{0,3}",
            Just("..".to_owned()),
            Just("/".to_owned()),
            Just("\0".to_owned()),
            Just("x".repeat(63)),
            Just("x".repeat(64)),
            Just("ä".repeat(100)),
        ];
        prop::collection::vec(piece, 1..6)
            .prop_map(|pieces| pieces.concat())
            .prop_filter("1 to 1024 bytes", |key| (1..=1024).contains(&key.len()))
    }

    fn entries(key: &str) -> Vec<Entry> {
        path_of(key)
            .components()
            .map(|component| match component {
                Component::Normal(name) => read(name.as_bytes()).unwrap(),
                other => panic!("{other:?} in the path of {key:?}"),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_path_says_the_name_and_stays_below_its_bucket(key in key()) {
            let entries = entries(&key);
            let texts: Vec<u8> = entries.iter().flat_map(|entry| entry.text.clone()).collect();
            prop_assert_eq!(texts, key.as_bytes());
            let (last, above) = entries.split_last().unwrap();
            prop_assert_eq!(last.kind, Kind::Object);
            prop_assert!(above.iter().all(|entry| entry.kind == Kind::Directory));
            for component in path_of(&key).components() {
                prop_assert!(component.as_os_str().len() <= 255);
            }
            prop_assert!(path_of(&key).as_os_str().len() < 3200);
        }

        #[test]
        fn entries_are_ordered_as_names(one in key(), other in key()) {
            let texts = |key: &str| -> Vec<Vec<u8>> {
                entries(key).into_iter().map(|entry| entry.text).collect()
            };
            prop_assert_eq!(texts(&one).cmp(&texts(&other)), one.as_bytes().cmp(other.as_bytes()));
        }

        #[test]
        fn everything_below_a_prefix_is_in_its_directory(key in key(), cut in 0_usize..1024) {
            let cut = (0..=cut.min(key.len())).rev().find(|at| key.is_char_boundary(*at)).unwrap();
            let (directory, base) = directory_of(&key[..cut]);
            prop_assert!(path_of(&key).starts_with(&directory));
            prop_assert!(key.starts_with(base));
        }

        #[test]
        fn a_file_is_read_as_at_most_one_name(name in "[a%,+.0-9A-F-]{1,12}") {
            if let Some(entry) = read(name.as_bytes())
                && entry.kind == Kind::Object
                && let Ok(key) = std::str::from_utf8(&entry.text)
            {
                let path = path_of(key);
                prop_assert_eq!(path.as_os_str(), OsStr::new(&name));
            }
        }
    }

    #[test]
    fn files_that_no_object_has_are_no_objects() {
        for name in ["a%2F", "%2F", "%61", "%2f", &"x".repeat(64)] {
            assert_eq!(read(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn names_of_the_archive_are_readable() {
        assert_eq!(
            path_of("timelines/0190-1/7300/wal/00000001/0000001F/0000000103000060.zst"),
            PathBuf::from("timelines,/0190-1,/7300,/wal,/00000001,/0000001F,/0000000103000060.zst")
        );
    }
}

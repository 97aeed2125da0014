//! Which files go into which part.

use super::listing::{CONTROL_FILE, Listed};

/// About how many bytes of files a part has. Enough parts of a large database to make and unpack
/// several at once, and few enough that their number does not matter. A larger file is a part of
/// its own: PostgreSQL cuts relations into files of 1 GiB.
const PART_BYTES: u64 = 64 * 1024 * 1024;

/// Packs files into parts: the largest first, because the last part to be finished decides, and the
/// control file in one of its own at the end, for which all others are waited for.
pub(super) fn pack(files: Vec<Listed>) -> (Vec<Vec<Listed>>, Vec<Listed>) {
    let (control, files): (Vec<Listed>, Vec<Listed>) = files
        .into_iter()
        .partition(|file| file.path == CONTROL_FILE);
    let mut parts = Vec::new();
    let (mut open, mut open_bytes) = (Vec::new(), 0);
    for file in files {
        if file.bytes >= PART_BYTES {
            parts.push(vec![file]);
            continue;
        }
        if open_bytes + file.bytes > PART_BYTES {
            parts.push(std::mem::take(&mut open));
            open_bytes = 0;
        }
        open_bytes += file.bytes;
        open.push(file);
    }
    if !open.is_empty() {
        parts.push(open);
    }
    let bytes = |part: &Vec<Listed>| part.iter().map(|file| file.bytes).sum::<u64>();
    parts.sort_by_key(|part| std::cmp::Reverse(bytes(part)));
    (parts, control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn file(path: &str, mebibytes: u64) -> Listed {
        Listed {
            path: path.to_owned(),
            bytes: mebibytes * MIB,
            segment: None,
        }
    }

    #[test]
    fn parts_are_full_and_the_largest_come_first() {
        let files = vec![
            file("a", 30),
            file("b", 30),
            file(CONTROL_FILE, 0),
            file("huge", 1024),
            file("c", 30),
            file("d", 0),
            file("e", 64),
        ];
        let (parts, control) = pack(files);
        let names: Vec<Vec<&str>> = parts
            .iter()
            .map(|part| part.iter().map(|file| file.path.as_str()).collect())
            .collect();
        assert_eq!(
            names,
            [vec!["huge"], vec!["e"], vec!["a", "b"], vec!["c", "d"]]
        );
        assert_eq!(control, [file(CONTROL_FILE, 0)]);
    }
}

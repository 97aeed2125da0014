//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold nothing of ours.
const FOREIGN: &[&str] = &["target", ".git", ".ringmaster", "node_modules"];

/// A text file of the repository.
#[derive(Debug)]
pub(super) struct Source {
    /// Path from the root of the repository, with `/`.
    pub(super) path: String,
    /// Its content.
    pub(super) text: String,
}

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate of the tests is in a directory of the repository")
        .to_owned()
}

/// Every file whose name ends in `.<extension>`, in order.
pub(super) fn all(extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root(), &mut |path| {
        if path.extension().is_some_and(|found| found == extension) {
            found.push(read(path));
        }
    });
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(
        !found.is_empty(),
        "no .{extension} file was found: the rules would check nothing"
    );
    found
}

/// The names of the files in one directory, in order; none if it does not exist.
pub(super) fn names_in(directory: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root().join(directory)) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn collect(directory: &Path, found: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if FOREIGN.contains(&name.as_str()) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else {
            found(&path);
        }
    }
}

fn read(path: &Path) -> Source {
    let shown = path.strip_prefix(root()).unwrap_or(path);
    Source {
        path: shown.to_string_lossy().into_owned(),
        text: fs::read_to_string(path).unwrap(),
    }
}

impl Source {
    /// Lines with their numbers, from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Lines of code: without comments and what is after `#[cfg(test)]`.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

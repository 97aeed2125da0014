//! The objects of a bucket, in the order of their names.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::names::{self, Entry, Kind};

/// How a walk goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// With the next object.
    Next,
    /// With the next object whose name does not begin with this.
    Past(String),
    /// Not at all.
    Stop,
}

/// Which objects are visited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Their names begin with this.
    pub(crate) prefix: &'a str,
    /// Their names come after this; null: all.
    pub(crate) after: Option<&'a str>,
    /// Their names do not begin with this.
    pub(crate) past: Option<&'a str>,
}

/// Called with the name of each object, and the path of its file.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&str, &Path) -> io::Result<Step>;

/// Visits the objects of the bucket at `directory`. Those that appear or vanish meanwhile may be
/// visited or not.
pub(super) fn walk(directory: &Path, wanted: Wanted<'_>, visit: Visit<'_>) -> io::Result<()> {
    let (below, base) = names::directory_of(wanted.prefix);
    let mut walk = Walk {
        wanted,
        past: wanted.past.map(ToOwned::to_owned),
        visit,
    };
    walk.directory(&directory.join(below), base.as_bytes())?;
    Ok(())
}

struct Walk<'a> {
    wanted: Wanted<'a>,
    past: Option<String>,
    visit: Visit<'a>,
}

impl Walk<'_> {
    /// Visits what is in `directory`, all names in which begin with `base`; false: no more.
    fn directory(&mut self, directory: &Path, base: &[u8]) -> io::Result<bool> {
        for (name, kind, path) in self.entries(directory, base)? {
            if self.is_past(&name) {
                continue;
            }
            let goes_on = match kind {
                Kind::Directory => self.directory(&path, &name)?,
                Kind::Object => self.object(&name, &path)?,
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn object(&mut self, name: &[u8], path: &Path) -> io::Result<bool> {
        // A name that is none was not written by us.
        let Ok(name) = std::str::from_utf8(name) else {
            return Ok(true);
        };
        match (self.visit)(name, path)? {
            Step::Next => Ok(true),
            Step::Past(prefix) => {
                self.past = Some(prefix);
                Ok(true)
            }
            Step::Stop => Ok(false),
        }
    }

    /// The entries in which there can be something wanted, in order.
    fn entries(&self, directory: &Path, base: &[u8]) -> io::Result<Vec<(Vec<u8>, Kind, PathBuf)>> {
        let list = match fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            list => list?,
        };
        let mut entries = Vec::new();
        for file in list {
            let file = file?;
            let Some(Entry { text, kind }) = names::read(file.file_name().as_bytes()) else {
                continue;
            };
            let name = [base, &text].concat();
            if self.may_be_wanted(&name, kind) {
                entries.push((name, kind, file.path()));
            }
        }
        entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(entries)
    }

    fn may_be_wanted(&self, name: &[u8], kind: Kind) -> bool {
        let prefix = self.wanted.prefix.as_bytes();
        let after = self.wanted.after.map(str::as_bytes);
        match kind {
            Kind::Object => name.starts_with(prefix) && after.is_none_or(|after| name > after),
            Kind::Directory => {
                (name.starts_with(prefix) || prefix.starts_with(name))
                    && after.is_none_or(|after| name > after || after.starts_with(name))
            }
        }
    }

    fn is_past(&self, name: &[u8]) -> bool {
        self.past
            .as_ref()
            .is_some_and(|past| name.starts_with(past.as_bytes()))
    }
}

//! Which files belong into a backup.
//!
//! What PostgreSQL makes anew when it starts is left out, as its documentation of the low-level
//! backup interface says ("Backing Up the Data Directory"); directories stay, empty.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// Directories at the top whose content is left out.
const EMPTY: &[&str] = &[
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_wal",
];

/// Files at the top that are left out.
const LEFT_OUT: &[&str] = &[
    "backup_label",
    "backup_manifest",
    "current_logfiles",
    "current_logfiles.tmp",
    "postgresql.auto.conf.tmp",
    "postmaster.opts",
    "postmaster.pid",
    "recovery.signal",
    "standby.signal",
    "tablespace_map",
];

/// Files and directories anywhere that are left out begin with one of these.
const PREFIXES_LEFT_OUT: &[&str] = &["pgsql_tmp", "pg_internal.init"];

/// What is written last, and read last: its checkpoint must not be newer than the files.
pub(super) const CONTROL_FILE: &str = "global/pg_control";

/// What a data directory holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Directories, parents first.
    pub(super) directories: Vec<String>,
    /// Files, in the order of their paths.
    pub(super) files: Vec<Listed>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Path below the data directory.
    pub(super) path: String,
    /// Its bytes when it was listed.
    pub(super) bytes: u64,
    /// Which file of its relation it is, from 0; none if it is not one of pages.
    pub(super) segment: Option<u32>,
}

impl Listing {
    /// Lists a data directory. Blocks.
    pub(super) fn of(data: &Path) -> anyhow::Result<Self> {
        let mut listing = Self::default();
        listing.walk(data, "")?;
        for directory in ["pg_wal", "pg_wal/archive_status"] {
            if !listing.directories.iter().any(|known| known == directory) {
                listing.directories.push(directory.to_owned());
            }
        }
        listing.directories.sort();
        listing
            .files
            .sort_by(|one, other| one.path.cmp(&other.path));
        Ok(listing)
    }

    fn walk(&mut self, data: &Path, below: &str) -> anyhow::Result<()> {
        let entries = match fs::read_dir(data.join(below)) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
            // A database that was dropped meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !below.is_empty() => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let names: Result<Vec<String>, _> = entries
            .iter()
            .map(|entry| entry.file_name().into_string())
            .collect();
        let names = names
            .map_err(|name| anyhow::anyhow!("{} is no good name of a file", name.display()))?;
        let unlogged = unlogged_among(below, &names);
        for (entry, name) in entries.iter().zip(&names) {
            if is_left_out(below, name) || is_reset(below, name, &unlogged) {
                continue;
            }
            let path = if below.is_empty() {
                name.clone()
            } else {
                format!("{below}/{name}")
            };
            let kind = match entry.metadata() {
                Ok(kind) => kind,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            if below == "pg_tblspc" {
                anyhow::bail!("the cluster has a tablespace, and those cannot be backed up");
            }
            if below.is_empty() && EMPTY.contains(&name.as_str()) {
                self.directories.push(path);
            } else if kind.is_dir() {
                self.directories.push(path.clone());
                self.walk(data, &path)?;
            } else if kind.is_file() {
                self.files.push(Listed {
                    segment: segment_of(below, name),
                    bytes: kind.len(),
                    path,
                });
            } else {
                tracing::warn!(path, "neither a file nor a directory: not backed up");
            }
        }
        Ok(())
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

fn is_left_out(below: &str, name: &str) -> bool {
    let at_top = below.is_empty() && LEFT_OUT.contains(&name);
    at_top
        || PREFIXES_LEFT_OUT
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Whether files in this directory belong to relations of a database.
fn is_of_database(below: &str) -> bool {
    let number = below.strip_prefix("base/");
    number.is_some_and(is_number)
}

/// Numbers of the relations that are emptied by recovery: those with an `_init` fork.
fn unlogged_among(below: &str, names: &[String]) -> BTreeSet<String> {
    if !is_of_database(below) {
        return BTreeSet::new();
    }
    let numbers = names.iter().filter_map(|name| name.strip_suffix("_init"));
    numbers
        .filter(|number| is_number(number))
        .map(ToOwned::to_owned)
        .collect()
}

/// Whether recovery makes a file anew or removes it: of an unlogged relation all but the `_init`
/// fork, and temporary relations (`t<process>_<number>`).
fn is_reset(below: &str, name: &str, unlogged: &BTreeSet<String>) -> bool {
    if !is_of_database(below) {
        return false;
    }
    let temporary = name.strip_prefix('t').and_then(|rest| rest.split_once('_'));
    if temporary.is_some_and(|(process, _)| is_number(process)) {
        return true;
    }
    Relation::of(name).is_some_and(|file| !file.is_init && unlogged.contains(file.number))
}

/// Which file of its relation a file is, from 0; none if it does not consist of pages.
fn segment_of(below: &str, name: &str) -> Option<u32> {
    let has_relations = below == "global" || is_of_database(below);
    let file = Relation::of(name).filter(|_| has_relations)?;
    Some(file.segment)
}

/// The name of a file of a relation: `16384`, `16384_vm`, `16384.1`.
struct Relation<'a> {
    number: &'a str,
    is_init: bool,
    segment: u32,
}

impl<'a> Relation<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let (stem, segment) = match name.split_once('.') {
            None => (name, 0),
            Some((stem, segment)) => (stem, segment.parse().ok()?),
        };
        let (number, fork) = stem.split_once('_').unwrap_or((stem, ""));
        let is_fork = matches!(fork, "" | "fsm" | "vm" | "init");
        (is_number(number) && is_fork).then_some(Self {
            number,
            is_init: fork == "init",
            segment,
        })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(paths: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for path in paths {
            let file = directory.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            if !path.ends_with('/') {
                fs::write(file, path).unwrap();
            }
        }
        directory
    }

    #[test]
    fn what_postgres_makes_anew_is_left_out() {
        let data = make(&[
            "PG_VERSION",
            "postmaster.pid",
            "postmaster.opts",
            "backup_label",
            "base/1/100",
            "base/1/100.1",
            "base/1/100_vm",
            "base/1/t3_200",
            "base/1/300",
            "base/1/300.2",
            "base/1/300_fsm",
            "base/1/300_init",
            "base/1/3000",
            "base/1/pg_internal.init.77",
            "base/1/pg_filenode.map",
            "base/pgsql_tmp/x",
            "global/1262",
            "global/pg_control",
            "pg_notify/0000",
            "pg_replslot/archive/state",
            "pg_subtrans/0000",
            "pg_wal/000000010000000000000001",
            "pg_wal/archive_status/x.ready",
            "pg_xact/0000",
        ]);
        fs::create_dir(data.path().join("pg_tblspc")).unwrap();
        let listing = Listing::of(data.path()).unwrap();
        let files: Vec<(&str, Option<u32>)> = listing
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.segment))
            .collect();
        let expected = [
            ("PG_VERSION", None),
            ("base/1/100", Some(0)),
            ("base/1/100.1", Some(1)),
            ("base/1/100_vm", Some(0)),
            ("base/1/3000", Some(0)),
            ("base/1/300_init", Some(0)),
            ("base/1/pg_filenode.map", None),
            ("global/1262", Some(0)),
            ("global/pg_control", None),
            ("pg_xact/0000", None),
        ];
        assert_eq!(files, expected);
        let directories = [
            "base",
            "base/1",
            "global",
            "pg_notify",
            "pg_replslot",
            "pg_subtrans",
            "pg_tblspc",
            "pg_wal",
            "pg_wal/archive_status",
            "pg_xact",
        ];
        assert_eq!(listing.directories, directories);
        let bytes: usize = expected.iter().map(|(path, _)| path.len()).sum();
        assert_eq!(listing.bytes(), u64::try_from(bytes).unwrap());
    }

    #[test]
    fn a_tablespace_is_refused() {
        let data = make(&["PG_VERSION"]);
        fs::create_dir(data.path().join("pg_tblspc")).unwrap();
        std::os::unix::fs::symlink("/tmp", data.path().join("pg_tblspc/16400")).unwrap();
        let refused = Listing::of(data.path()).unwrap_err().to_string();
        assert!(refused.contains("tablespace"), "{refused}");
    }
}

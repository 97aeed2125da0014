//! PostgreSQL's programs, several versions side by side.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Account, ProcessError, Program, run_to_end};

/// Where Debian and Ubuntu install: `<here>/<major>/bin`.
const DISTRIBUTION: &str = "/usr/lib/postgresql";

/// Earliest minor version of each major version that we run. Earlier ones skip the wait for a
/// synchronous standby for a moment at start-up.
const MINIMUM: &[(u16, u16)] = &[(15, 13), (16, 9), (17, 5)];

/// Version of a PostgreSQL, as `15.13`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PostgresVersion {
    /// Major version: data directories of different ones are not compatible.
    pub major: u16,
    /// Minor version: fixes.
    pub minor: u16,
}

impl PostgresVersion {
    /// Reads what `postgres --version` prints.
    fn parse(printed: &str) -> Option<Self> {
        let version = printed.strip_prefix("postgres (PostgreSQL) ")?;
        let digits = |text: &str| -> Option<u16> {
            let end = text
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len());
            text[..end].parse().ok()
        };
        let major = digits(version)?;
        // A version before the first release has none: 19beta1.
        let minor = version.split_once('.').and_then(|(_, rest)| digits(rest));
        Some(Self {
            major,
            minor: minor.unwrap_or(0),
        })
    }

    fn is_supported(self) -> bool {
        let minimum = MINIMUM.iter().find(|(major, _)| *major == self.major);
        match minimum {
            Some((_, minor)) => self.minor >= *minor,
            None => MINIMUM.iter().all(|(major, _)| self.major > *major),
        }
    }
}

impl fmt::Display for PostgresVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The server programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresBinaries {
    /// Their version.
    pub version: PostgresVersion,
    /// The directory they are in.
    pub bin_dir: PathBuf,
}

impl PostgresBinaries {
    /// Path of one program, for example `initdb`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

/// Every usable PostgreSQL of this machine.
#[derive(Debug, Clone)]
pub struct PostgresInstallations {
    usable: BTreeMap<u16, PostgresBinaries>,
    too_old: Vec<PostgresBinaries>,
    searched: Vec<PathBuf>,
}

impl PostgresInstallations {
    /// Looks in `extra` directories (each a directory of programs, or one with `bin`,
    /// `native/bin` or `<major>/bin` below), where the distribution installs, and where
    /// `pg_config` points. Of each major version the newest is taken.
    pub async fn discover(extra: &[PathBuf]) -> Self {
        let mut searched: Vec<PathBuf> = extra.to_vec();
        searched.push(DISTRIBUTION.into());
        let pg_config = Program::new("pg_config", &Account::current()).arg("--bindir");
        if let Ok(directory) = run_to_end(&pg_config).await {
            searched.push(directory.into());
        }
        let mut directories: Vec<PathBuf> = Vec::new();
        for place in &searched {
            directories.extend(program_directories(place));
        }
        directories.sort();
        directories.dedup();
        let mut found = Self {
            usable: BTreeMap::new(),
            too_old: Vec::new(),
            searched,
        };
        for bin_dir in directories {
            if let Some(version) = version_in(&bin_dir).await {
                found.add(PostgresBinaries { version, bin_dir });
            }
        }
        found
    }

    fn add(&mut self, binaries: PostgresBinaries) {
        if !binaries.version.is_supported() {
            self.too_old.push(binaries);
            return;
        }
        let known = self.usable.get(&binaries.version.major);
        if known.is_none_or(|known| known.version < binaries.version) {
            self.usable.insert(binaries.version.major, binaries);
        }
    }

    /// The newest one.
    ///
    /// # Errors
    /// [`ProcessError::NoPostgres`] if there is none: says what to install.
    pub fn newest(&self) -> Result<&PostgresBinaries, ProcessError> {
        self.usable
            .values()
            .next_back()
            .ok_or_else(|| self.none(None))
    }

    /// The one of this major version.
    ///
    /// # Errors
    /// [`ProcessError::NoPostgres`] if there is none: says what to install.
    pub fn find(&self, major: u16) -> Result<&PostgresBinaries, ProcessError> {
        self.usable
            .get(&major)
            .ok_or_else(|| self.none(Some(major)))
    }

    fn none(&self, major: Option<u16>) -> ProcessError {
        let minimum: Vec<String> = MINIMUM
            .iter()
            .filter(|(each, _)| major.is_none_or(|major| major == *each))
            .map(|(major, minor)| format!("{major}.{minor}"))
            .collect();
        let wanted = match major {
            Some(major) if minimum.is_empty() => major.to_string(),
            Some(_) | None => format!("{} or later", minimum.join(", ")),
        };
        let paths: Vec<String> = self
            .searched
            .iter()
            .map(|p| p.display().to_string())
            .collect();
        let too_old: Vec<String> = self
            .too_old
            .iter()
            .map(|each| {
                format!(
                    "; {} in {} is too old",
                    each.version,
                    each.bin_dir.display()
                )
            })
            .collect();
        ProcessError::NoPostgres {
            wanted,
            searched: paths.join(", "),
            too_old: too_old.concat(),
            package: major.map_or_else(
                || "postgresql".to_owned(),
                |major| format!("postgresql-{major}"),
            ),
        }
    }
}

fn program_directories(place: &Path) -> Vec<PathBuf> {
    let mut candidates = vec![
        place.to_owned(),
        place.join("bin"),
        place.join("native/bin"),
    ];
    if let Ok(entries) = fs::read_dir(place) {
        candidates.extend(entries.flatten().map(|entry| entry.path().join("bin")));
    }
    candidates.retain(|directory| directory.join("postgres").is_file());
    candidates
        .into_iter()
        .filter_map(|directory| fs::canonicalize(directory).ok())
        .collect()
}

async fn version_in(bin_dir: &Path) -> Option<PostgresVersion> {
    let program = Program::new(bin_dir.join("postgres"), &Account::current()).arg("--version");
    PostgresVersion::parse(&run_to_end(&program).await.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(printed: &str, expected: Option<(u16, u16)>) {
        let version = PostgresVersion::parse(printed).map(|v| (v.major, v.minor));
        assert_eq!(version, expected, "{printed:?}");
    }

    #[test]
    fn a_version_is_read_as_postgres_prints_it() {
        check(
            "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)",
            Some((15, 20)),
        );
        check("postgres (PostgreSQL) 18.1", Some((18, 1)));
        check("postgres (PostgreSQL) 19beta1", Some((19, 0)));
        check("psql (PostgreSQL) 15.2", None);
        check("", None);
    }

    fn installations(versions: &[(u16, u16)]) -> PostgresInstallations {
        let mut found = PostgresInstallations {
            usable: BTreeMap::new(),
            too_old: Vec::new(),
            searched: vec![DISTRIBUTION.into()],
        };
        for (major, minor) in versions {
            found.add(PostgresBinaries {
                version: PostgresVersion {
                    major: *major,
                    minor: *minor,
                },
                bin_dir: format!("/pg/{major}.{minor}/bin").into(),
            });
        }
        found
    }

    #[test]
    fn the_newest_usable_version_is_found() {
        let found = installations(&[(14, 20), (15, 13), (15, 20), (15, 14), (17, 4), (16, 9)]);
        assert_eq!(found.newest().unwrap().version.to_string(), "16.9");
        assert_eq!(found.find(15).unwrap().version.to_string(), "15.20");
        assert_eq!(
            installations(&[(18, 0)]).newest().unwrap().version.major,
            18
        );
    }

    #[test]
    fn a_missing_version_says_what_to_install() {
        let error = installations(&[(17, 4)]).find(17).unwrap_err().to_string();
        assert_eq!(
            error,
            "no PostgreSQL 17.5 or later found (looked in /usr/lib/postgresql; 17.4 in \
             /pg/17.4/bin is too old); install it, for example: apt-get install postgresql-17"
        );
        let error = installations(&[]).newest().unwrap_err().to_string();
        assert!(
            error.starts_with("no PostgreSQL 15.13, 16.9, 17.5 or later found"),
            "{error}"
        );
    }
}

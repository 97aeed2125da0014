//! The directory that holds everything of one `up`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use shared::process::{Account, ProcessError};
use shared::secret::Secret;

use crate::failure::{Failure, FailureKind};
use crate::screen::note;

/// Where data goes if the directory itself is closed to the user that PostgreSQL runs as.
const FALLBACK: &str = "/var/lib/ringmaster";

/// A directory of `up`, and where each thing in it is.
#[derive(Debug, Clone)]
pub struct Directory {
    shown: PathBuf,
    real: PathBuf,
}

impl Directory {
    /// Makes the directory at `path`, or finds it again. If we are root and the user that
    /// PostgreSQL runs as cannot get there, the data is placed under `/var/lib/ringmaster` and
    /// `path` becomes a link to it.
    pub fn open_or_create(path: &Path, account: &Account) -> Result<Self, Failure> {
        let shown = std::path::absolute(path).map_err(Failure::during("find the directory"))?;
        if !shown.exists() {
            create(&shown, account)?;
        }
        Self::open(&shown)
    }

    /// Finds the directory at `path` again.
    ///
    /// # Errors
    /// [`FailureKind::Unreachable`] if nothing was ever started there.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let shown = std::path::absolute(path).map_err(Failure::during("find the directory"))?;
        match fs::canonicalize(&shown) {
            Ok(real) => Ok(Self { shown, real }),
            Err(_) => Err(nothing_here(&shown)),
        }
    }

    /// The directory as people know it.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.real.join(name)
    }

    /// The log of one process.
    pub fn log(&self, process: &str) -> PathBuf {
        self.join("log").join(format!("{process}.log"))
    }

    /// Data of the control database.
    pub fn postgres(&self) -> PathBuf {
        self.join("postgres")
    }

    /// Data of the queue.
    pub fn redis(&self) -> PathBuf {
        self.join("redis")
    }

    /// Objects of the archive.
    pub fn objects(&self) -> PathBuf {
        self.join("objects")
    }

    /// Servers of the local provider: one directory each.
    pub fn servers(&self) -> PathBuf {
        self.join("servers")
    }

    /// What the gateway keeps.
    pub fn gateway(&self) -> PathBuf {
        self.join("gateway")
    }

    /// The key that encrypts secrets in the control database.
    pub fn encryption_key(&self) -> PathBuf {
        self.join("encryption.key")
    }

    /// The administrator's API token.
    pub fn token(&self) -> PathBuf {
        self.join("admin.token")
    }

    /// What the command line needs to reach the API.
    pub fn client(&self) -> PathBuf {
        self.join("client.json")
    }

    /// As [`Directory::secret`], for one that the control database is of no use without: it is made
    /// only while there is no control database.
    pub fn lasting_secret(
        &self,
        name: &str,
        fresh: impl FnOnce() -> Secret,
    ) -> Result<Secret, Failure> {
        let path = self.join(name);
        if self.postgres().exists() && !path.exists() {
            let (lost, shown) = (path.display(), self.shown.display());
            let message = format!("{lost} is lost, and the control database needs it");
            return Err(Failure::new(FailureKind::Failed, message).advise(format!(
                "put it back from a copy; or, to begin anew without any data, remove {shown}"
            )));
        }
        self.secret(name, fresh)
    }

    /// Reads the secret in the file `name`, or makes it with `fresh`. Only we may read the file.
    pub fn secret(&self, name: &str, fresh: impl FnOnce() -> Secret) -> Result<Secret, Failure> {
        let path = self.join(name);
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(Secret::new(text.trim())),
            Ok(_) | Err(_) => {
                let secret = fresh();
                write_private(&path, secret.expose())?;
                Ok(secret)
            }
        }
    }
}

/// That nothing runs there, and what to do.
pub(super) fn nothing_here(shown: &Path) -> Failure {
    let shown = shown.display();
    Failure::new(FailureKind::Unreachable, format!("nothing runs in {shown}"))
        .advise("start it with: make up   (or: ringmaster up)")
}

fn create(shown: &Path, account: &Account) -> Result<(), Failure> {
    let make = |path: &Path| -> Result<(), Failure> {
        fs::create_dir_all(path).map_err(Failure::during(format!("make {}", path.display())))?;
        // PostgreSQL's user must pass through, if it is not us; every file in it is private.
        let passable = account.uid() != Account::current().uid();
        let mode = if passable { 0o711 } else { 0o700 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(Failure::during(format!("protect {}", path.display())))
    };
    // A link whose target is gone: the data was removed, the link stayed.
    let target = fs::read_link(shown).ok();
    if let Some(target) = &target {
        return make(target);
    }
    make(shown)?;
    match account.check_reaches(&shown.join(".")) {
        Ok(()) => Ok(()),
        Err(ProcessError::OutOfReach { obstacle, .. }) => {
            let target = fallback(shown);
            make(&target)?;
            fs::remove_dir(shown)
                .and_then(|()| symlink(&target, shown))
                .map_err(Failure::during(format!("link {}", shown.display())))?;
            note(format!(
                "PostgreSQL does not run as root, and {} is closed to its user: data goes to {} \
                 ({} is a link to it)",
                obstacle.display(),
                target.display(),
                shown.display()
            ));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// A directory that belongs to `shown` alone.
fn fallback(shown: &Path) -> PathBuf {
    let digest = Sha256::digest(shown.as_os_str().as_encoded_bytes());
    let short = digest
        .first_chunk()
        .map_or(0, |start| u64::from_be_bytes(*start));
    Path::new(FALLBACK).join(format!("{short:016x}"))
}

/// Writes a file that only we may read, whole or not at all.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let fresh = path.with_extension("new");
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(Failure::during(format!("write {}", path.display())))
}

#[cfg(test)]
mod tests;

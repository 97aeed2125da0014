//! Users of the operating system that children run as.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown, fchown};
use std::path::{Path, PathBuf};

use super::ProcessError;

/// The user that PostgreSQL runs as when we are root.
const POSTGRES_USER: &str = "postgres";

/// Every user of the machine, one a line: `name:x:uid:gid:…`.
const PASSWD: &str = "/etc/passwd";

/// A user of the operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The user this process runs as.
    pub fn current() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        Self {
            name: format!("with uid {uid}"),
            uid,
            gid,
        }
    }

    /// The user that PostgreSQL runs as: `postgres` if we are root, else the current one.
    ///
    /// # Errors
    /// [`ProcessError::NoAccount`] if we are root and that user does not exist.
    pub fn for_postgres() -> Result<Self, ProcessError> {
        let current = Self::current();
        if current.uid == 0 {
            Self::named(POSTGRES_USER)
        } else {
            Ok(current)
        }
    }

    /// The user of this name.
    ///
    /// # Errors
    /// [`ProcessError::NoAccount`] if it does not exist.
    pub fn named(name: &str) -> Result<Self, ProcessError> {
        let passwd = fs::read_to_string(PASSWD).map_err(ProcessError::file("read", PASSWD))?;
        parse_passwd(&passwd, name).ok_or_else(|| ProcessError::NoAccount {
            name: name.to_owned(),
        })
    }

    /// Numeric user id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Numeric id of the primary group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Whether a child must change its user to run as this one.
    pub(super) fn needs_switch(&self) -> bool {
        self.uid != rustix::process::geteuid().as_raw()
    }

    /// Gives a file or directory to this user; no-op if it is the current one.
    pub fn give(&self, path: &Path) -> Result<(), ProcessError> {
        if !self.needs_switch() {
            return Ok(());
        }
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(ProcessError::file("change owner of", path))
    }

    /// Gives an open file to this user, whatever its name stands for by now; `path` is for messages.
    pub fn give_file(&self, file: &File, path: &Path) -> Result<(), ProcessError> {
        if !self.needs_switch() {
            return Ok(());
        }
        fchown(file, Some(self.uid), Some(self.gid))
            .map_err(ProcessError::file("change owner of", path))
    }

    /// Makes a directory that only this user (and root) may enter, unless it exists; missing
    /// parents are made with usual permissions.
    pub fn make_private_directory(&self, path: &Path) -> Result<(), ProcessError> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(ProcessError::file("make directory", parent))?;
        }
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(ProcessError::file("make directory", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        self.give(path)
    }

    /// Checks that this user may pass every directory on the way to `path`, which must exist.
    /// Looks at owners and modes; access lists are not considered.
    ///
    /// # Errors
    /// [`ProcessError::OutOfReach`] names the first closed directory.
    pub fn check_reaches(&self, path: &Path) -> Result<(), ProcessError> {
        let path = fs::canonicalize(path).map_err(ProcessError::file("find", path))?;
        let mut directories: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_owned).collect();
        directories.reverse();
        for directory in directories {
            let metadata =
                fs::metadata(&directory).map_err(ProcessError::file("look at", &directory))?;
            if !self.may_pass(
                metadata.uid(),
                metadata.gid(),
                metadata.permissions().mode(),
            ) {
                return Err(ProcessError::OutOfReach {
                    account: self.name.clone(),
                    path,
                    obstacle: directory,
                });
            }
        }
        Ok(())
    }

    fn may_pass(&self, owner: u32, group: u32, mode: u32) -> bool {
        let bit = match (self.uid == owner, self.gid == group) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        self.uid == 0 || mode & bit != 0
    }
}

fn parse_passwd(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104::/var/lib:/bin/sh\nbad:x\n";
        let found = parse_passwd(passwd, "postgres").unwrap();
        assert_eq!((found.uid, found.gid), (101, 104));
        assert_eq!(parse_passwd(passwd, "postgre"), None);
        assert_eq!(parse_passwd(passwd, "bad"), None);
    }

    #[test]
    fn a_closed_directory_is_named() {
        let stranger = Account {
            name: "stranger".to_owned(),
            uid: 4_000_000,
            gid: 4_000_000,
        };
        let open = tempfile::tempdir().unwrap();
        let closed = open.path().join("closed");
        let file = closed.join("file");
        fs::create_dir(&closed).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        stranger.check_reaches(&file).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let error = stranger.check_reaches(&file).unwrap_err();
        assert!(
            matches!(&error, ProcessError::OutOfReach { obstacle, .. } if obstacle.ends_with("closed")),
            "{error}"
        );
    }
}

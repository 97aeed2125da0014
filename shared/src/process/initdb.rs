//! New data directories.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{Account, HARD_END, PostgresBinaries, ProcessError, Program, end_all_in, run_to_end};
use crate::secret::Secret;

/// How a new cluster is made.
#[derive(Debug, Clone, Copy)]
pub struct Initdb<'a> {
    /// Name of the superuser.
    pub superuser: &'a str,
    /// Its password for TCP connections; `None` trusts everybody who reaches a socket.
    pub password: Option<&'a Secret>,
    /// Further arguments.
    pub arguments: &'a [&'a str],
}

impl Initdb<'_> {
    /// Where an attempt to make `data_directory` works until it is finished.
    pub fn unfinished(data_directory: &Path) -> PathBuf {
        beside(data_directory, "unfinished")
    }

    /// Makes `data_directory`, which must not exist: all of it, durably, or nothing. What an
    /// earlier attempt left (its processes, its files) is removed.
    pub async fn run(
        &self,
        binaries: &PostgresBinaries,
        account: &Account,
        data_directory: &Path,
    ) -> Result<(), ProcessError> {
        let unfinished = Self::unfinished(data_directory);
        end_all_in(&unfinished, HARD_END).await?;
        remove_tree(&unfinished).await?;
        account.make_private_directory(&unfinished)?;
        account.check_reaches(&unfinished)?;
        account.check_reaches(&binaries.program("postgres"))?;
        let mut program = Program::new(binaries.program("initdb"), account)
            // Its processes are found by their working directory if we end before it does.
            .directory(&unfinished)
            .arg("-D")
            .arg(&unfinished)
            .args(["--username", self.superuser])
            .args(["--encoding", "UTF8", "--locale", "C.UTF-8"])
            .args(["--data-checksums", "--no-sync"])
            .args(self.arguments);
        let password_file = beside(data_directory, "password");
        program = match self.password {
            Some(password) => {
                write_private(account, &password_file, password)?;
                program
                    .args(["--auth", "scram-sha-256", "--pwfile"])
                    .arg(&password_file)
            }
            None => program.args(["--auth", "trust"]),
        };
        let outcome = run_to_end(&program).await;
        if self.password.is_some() {
            fs::remove_file(&password_file)
                .map_err(ProcessError::file("remove", &password_file))?;
        }
        outcome?;
        make_durable_as(&unfinished, data_directory).await
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn write_private(account: &Account, path: &Path, secret: &Secret) -> Result<(), ProcessError> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(secret.expose().as_bytes()))
        .map_err(ProcessError::file("write", path))?;
    account.give(path)
}

async fn remove_tree(path: &Path) -> Result<(), ProcessError> {
    match tokio::fs::remove_dir_all(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ProcessError::file("remove", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes the whole file system of `from` to disk, gives `from` its final name, and makes the name
/// durable too: one wait for the disk in place of one for each of a thousand files.
///
/// # Errors
/// [`ProcessError::File`]; `to` is all there or not at all.
pub async fn make_durable_as(from: &Path, to: &Path) -> Result<(), ProcessError> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let work = move || {
        let directory = File::open(&from).map_err(ProcessError::file("open", &from))?;
        rustix::fs::syncfs(&directory)
            .map_err(|error| ProcessError::file("sync", &from)(error.into()))?;
        fs::rename(&from, &to).map_err(ProcessError::file("rename", &from))?;
        let parent = to.parent().unwrap_or_else(|| Path::new("/"));
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(ProcessError::file("sync", parent))
    };
    let finished = tokio::task::spawn_blocking(work).await;
    finished.map_err(|error| ProcessError::file("sync", "/")(std::io::Error::other(error)))?
}

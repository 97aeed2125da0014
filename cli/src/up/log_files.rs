//! Log files stay bounded: the newest lines in `<name>.log`, the ones before in `<name>.log.1`.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Directory;

/// Size from which a log is moved aside, in bytes: two files of it for each process.
const LARGE: u64 = 32 << 20;

/// Time between two looks at the sizes.
const LOOK: Duration = Duration::from_secs(20);

/// Moves large logs aside until `stop`.
pub(super) async fn keep_bounded(directory: Directory, stop: CancellationToken) {
    loop {
        for place in places(&directory) {
            // A server may go while its logs are looked at: the next look finds what is left.
            if let Err(error) = move_aside_large(&place, LARGE) {
                tracing::debug!(%error, place = %place.display(), "failed to bound the logs");
            }
        }
        let pause = tokio::time::sleep(LOOK);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// Every directory with logs: ours, and for each server that of its agent and its PostgreSQL.
fn places(directory: &Directory) -> Vec<PathBuf> {
    let mut places = vec![directory.join("log"), directory.gateway()];
    let servers = fs::read_dir(directory.servers()).into_iter().flatten();
    for server in servers.filter_map(Result::ok) {
        places.push(server.path());
        places.push(server.path().join("agent"));
    }
    places
}

/// Processes hold their log open and append: it is copied and emptied, so that they go on writing
/// at its new beginning. Lines written in between are lost, which is better than a full disk.
fn move_aside_large(logs: &Path, large: u64) -> io::Result<()> {
    for entry in fs::read_dir(logs)? {
        let path = entry?.path();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        if is_log && fs::metadata(&path)?.len() > large {
            fs::copy(&path, path.with_extension("log.1"))?;
            OpenOptions::new().write(true).open(&path)?.set_len(0)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_large_log_is_moved_aside_while_it_is_written() {
        let logs = tempfile::tempdir().unwrap();
        let path = logs.path().join("worker.log");
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        fs::write(logs.path().join("api.log"), "short").unwrap();
        log.write_all(b"many lines\n").unwrap();
        move_aside_large(logs.path(), 8).unwrap();
        log.write_all(b"next").unwrap();
        let read = |name: &str| fs::read_to_string(logs.path().join(name)).unwrap();
        assert_eq!(read("worker.log.1"), "many lines\n");
        assert_eq!(read("worker.log"), "next");
        assert_eq!(read("api.log"), "short");
    }
}

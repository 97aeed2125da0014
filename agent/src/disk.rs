//! Whether the disk that carries the WAL still writes.
//!
//! A thread writes and syncs a small file every two seconds and notes when it was done. If the
//! disk hangs, only that thread hangs with it, and the age of the last success grows.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use shared::agent_api::DiskStatus;
use tokio::time::Instant;

/// Time from the end of one probe to the next.
const PAUSE: Duration = Duration::from_secs(2);

/// A disk that can be probed.
pub(crate) trait Disk: Send + 'static {
    /// Writes something and waits until it is on the disk. The same bytes are overwritten, so that
    /// a full disk does not look like a hanging one.
    fn write_and_sync(&self) -> io::Result<()>;

    /// Bytes in use, and size of the file system.
    fn usage(&self) -> io::Result<(u64, u64)>;
}

/// The file system that a file is on.
#[derive(Debug)]
pub(crate) struct FileDisk {
    path: PathBuf,
    file: File,
}

impl FileDisk {
    /// Makes the file, if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)?;
        let path = path.to_owned();
        Ok(Self { path, file })
    }
}

impl Disk for FileDisk {
    fn write_and_sync(&self) -> io::Result<()> {
        self.file.write_all_at(b"probe\n", 0)?;
        self.file.sync_data()
    }

    fn usage(&self) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statvfs(&self.path)?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        Ok((
            used.saturating_mul(stat.f_frsize),
            stat.f_blocks.saturating_mul(stat.f_frsize),
        ))
    }
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    finished_at: Instant,
    took: Option<Duration>,
    used_bytes: u64,
    total_bytes: u64,
}

/// The running probe; its thread ends after this is dropped.
#[derive(Debug)]
pub(crate) struct DiskProbe {
    seen: Arc<Mutex<Seen>>,
    _stop: Sender<()>,
}

impl DiskProbe {
    /// Starts probing.
    pub(crate) fn start(disk: impl Disk) -> io::Result<Self> {
        let seen = Arc::new(Mutex::new(Seen {
            finished_at: Instant::now(),
            took: None,
            used_bytes: 0,
            total_bytes: 0,
        }));
        let (stop, stopped) = channel();
        let shown = Arc::clone(&seen);
        thread::Builder::new()
            .name("disk-probe".to_owned())
            .spawn(move || probe(&disk, &shown, &stopped))?;
        Ok(Self { seen, _stop: stop })
    }

    /// What was last seen, and how long ago.
    pub(crate) fn status(&self) -> DiskStatus {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        DiskStatus {
            used_bytes: seen.used_bytes,
            total_bytes: seen.total_bytes,
            probe_took_ms: seen.took.map(milliseconds),
            probe_age_ms: milliseconds(seen.finished_at.elapsed()),
        }
    }
}

fn probe(disk: &impl Disk, seen: &Mutex<Seen>, stopped: &Receiver<()>) {
    let mut failing = false;
    loop {
        let begun = Instant::now();
        let outcome = disk.write_and_sync().and_then(|()| {
            let took = begun.elapsed();
            Ok((took, disk.usage()?))
        });
        match outcome {
            Ok((took, (used_bytes, total_bytes))) => {
                failing = false;
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen {
                    finished_at: Instant::now(),
                    took: Some(took),
                    used_bytes,
                    total_bytes,
                };
            }
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "failed to write to the disk");
            }
            Err(_) => {}
        }
        match stopped.recv_timeout(PAUSE) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk whose writes wait until they are let through.
    struct Gate(Mutex<Receiver<io::Result<()>>>);

    impl Disk for Gate {
        fn write_and_sync(&self) -> io::Result<()> {
            let gate = self.0.lock().unwrap();
            gate.recv().unwrap_or(Ok(()))
        }

        fn usage(&self) -> io::Result<(u64, u64)> {
            Ok((30, 100))
        }
    }

    fn wait_until(probe: &DiskProbe, good: impl Fn(DiskStatus) -> bool) -> DiskStatus {
        let begun = Instant::now();
        loop {
            let status = probe.status();
            if good(status) {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{status:?}");
            thread::yield_now();
        }
    }

    #[test]
    fn a_disk_that_hangs_shows_as_an_age_that_grows() {
        let (let_through, gate) = channel();
        let probe = DiskProbe::start(Gate(Mutex::new(gate))).unwrap();
        let hanging = wait_until(&probe, |status| status.probe_age_ms >= 50);
        assert_eq!((hanging.probe_took_ms, hanging.total_bytes), (None, 0));
        let_through.send(Err(io::ErrorKind::Other.into())).unwrap();
        let_through.send(Ok(())).unwrap();
        let status = wait_until(&probe, |status| status.probe_took_ms.is_some());
        assert_eq!((status.used_bytes, status.total_bytes), (30, 100));
        wait_until(&probe, |status| status.probe_age_ms >= 50);
    }

    #[test]
    fn a_real_disk_is_probed() {
        let directory = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(&directory.path().join("probe")).unwrap();
        let probe = DiskProbe::start(disk).unwrap();
        let status = wait_until(&probe, |status| status.probe_took_ms.is_some());
        assert!(
            0 < status.used_bytes && status.used_bytes < status.total_bytes,
            "{status:?}"
        );
    }
}

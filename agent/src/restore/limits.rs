//! Settings of a follower that are lower than those of the leader: its limits must hold what the
//! leader's do, or PostgreSQL does not replay.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// How much of the log is looked at, in bytes from its end.
const LOOKED_AT: u64 = 64 * 1024;

/// What PostgreSQL says, each time with the name of a setting and both values.
const TOO_LOW: &str = " is a lower setting than on the primary server";

/// Which settings PostgreSQL said last are too low, for people; none if it did not. Blocks for a
/// moment.
pub(crate) fn too_low_settings(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOOKED_AT)))
        .ok()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    find(&String::from_utf8_lossy(&text))
}

fn find(log: &str) -> Option<String> {
    let line = log.lines().rfind(|line| line.contains(TOO_LOW))?;
    let (_, detail) = line.split_once("DETAIL:")?;
    Some(format!(
        "settings are lower than the leader's: {}",
        detail.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgres_says_last_counts() {
        let log = "2026-11-22 20:00:00.000 UTC [7] FATAL:  recovery aborted because of insufficient \
                   parameter settings\n\
                   2026-11-22 20:00:00.000 UTC [7] DETAIL:  max_connections = 20 is a lower setting \
                   than on the primary server, where its value was 30.\n\
                   2026-11-22 20:00:00.000 UTC [1] LOG:  database system is shut down\n";
        assert_eq!(
            find(log).as_deref(),
            Some(
                "settings are lower than the leader's: max_connections = 20 is a lower setting than \
                 on the primary server, where its value was 30."
            )
        );
        assert_eq!(find("LOG:  redo starts at 0/2000028\n"), None);
    }
}

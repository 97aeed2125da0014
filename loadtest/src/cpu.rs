//! Processor time of a process, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Linux tells processor times in hundredths of a second on every machine (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// User and system time that process `pid` has used so far, all threads together, in steps of a
/// clock tick (10 ms).
pub(crate) fn time_of(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read /proc/<pid>/stat")?;
    // The name, in parentheses, may hold anything; fields 14 and 15 are counted from behind it.
    let (_, fields) = stat
        .rsplit_once(')')
        .context("find the name in /proc/<pid>/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| -> anyhow::Result<u64> {
        fields
            .get(at)
            .context("find the times in /proc/<pid>/stat")?
            .parse()
            .context("read ticks")
    };
    Ok(Duration::from_millis(
        (ticks(11)? + ticks(12)?) * 1000 / TICKS_PER_SECOND,
    ))
}

/// Time for which the main thread of process `pid` was ready to run and had no core.
pub(crate) fn wait_of(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/schedstat");
    let schedstat = fs::read_to_string(path).context("read /proc/<pid>/schedstat")?;
    let waited = schedstat
        .split_whitespace()
        .nth(1)
        .context("find the wait in schedstat")?;
    Ok(Duration::from_nanos(
        waited.parse().context("read nanoseconds")?,
    ))
}

//! Memory of a process, from `/proc`.

use std::fs;

use anyhow::Context as _;

/// Most memory that process `pid` has had at once, in mebibytes.
pub(crate) fn peak_mib(pid: u32) -> anyhow::Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("read /proc/<pid>/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .context("find VmHWM in /proc/<pid>/status")?;
    let kibibytes: f64 = peak.parse().context("read VmHWM")?;
    Ok(kibibytes / 1024.0)
}

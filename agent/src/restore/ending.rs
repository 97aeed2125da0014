//! Whether a target can be reached, and whether it was.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use shared::agent_api::restore::{RestoreSource, Restored, Target};
use shared::archive::manifest::Manifest;
use shared::units::Lsn;

use crate::durable_file::replace_durably;

/// Name of the file, below the directory of a restore.
const LAST_RECORD: &str = "last-record";

/// Where the last whole record of the way ends, as far as segments were put together. It is written
/// down before PostgreSQL gets the last segment, and so is known to whoever finds that recovery has
/// ended.
#[derive(Debug, Clone)]
pub(super) struct LastRecord {
    path: PathBuf,
    end: Arc<Mutex<Option<Lsn>>>,
}

impl LastRecord {
    /// Reads what was noted before. Blocks.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(LAST_RECORD);
        let end = Arc::new(Mutex::new(read_last_record(&path)?));
        Ok(Self { path, end })
    }

    /// Notes the end of a record, if it is later than the last one. Blocks.
    pub(super) fn note(&self, end: Option<Lsn>, is_last_segment: bool) -> io::Result<()> {
        let mut kept = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end > *kept {
            *kept = end;
        }
        let Some(end) = *kept else {
            return Ok(());
        };
        let text = end.to_string();
        if is_last_segment {
            return replace_durably(&self.path, text.as_bytes());
        }
        let new = self.path.with_added_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.path)
    }
}

fn read_last_record(path: &Path) -> io::Result<Option<Lsn>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Number of the leg that a backup was taken on; none if it is on no leg of the way.
pub(super) fn leg_of(source: &RestoreSource, manifest: &Manifest) -> Option<usize> {
    source
        .path
        .iter()
        .position(|leg| (leg.timeline, leg.run) == (manifest.timeline, manifest.run))
}

/// Whether a way leads from a backup to a target.
///
/// # Errors
/// Why not, with what can be restored.
pub(super) fn check_target(source: &RestoreSource, manifest: &Manifest) -> Result<(), String> {
    let leg = leg_of(source, manifest);
    let leg = leg.ok_or("the backup is of an epoch that is not on the way to the target")?;
    let end = source.path.last().map(|leg| leg.end).unwrap_or_default();
    let is_on_leg = source
        .path
        .get(leg)
        .is_some_and(|leg| manifest.stop_lsn <= leg.end);
    let is_reachable = is_on_leg
        && match source.target {
            Target::End => true,
            Target::Lsn { lsn } => (manifest.stop_lsn..=end).contains(&lsn),
            Target::Time { at } => at >= manifest.stopped_at,
        };
    if is_reachable {
        return Ok(());
    }
    Err(format!(
        "{} cannot be restored: {}",
        source.target,
        window(source, manifest)
    ))
}

/// What can be restored from a backup by a way, for people.
pub(super) fn window(source: &RestoreSource, manifest: &Manifest) -> String {
    let end = source.path.last().map(|leg| leg.end).unwrap_or_default();
    let window = shared::archive::plan::Window {
        from_lsn: manifest.stop_lsn,
        from: manifest.stopped_at,
        to_lsn: end,
        to: Some(source.complete_until),
    };
    shared::archive::plan::Windows(vec![window]).to_string()
}

/// What to do about a target that recovery did not find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing was committed after the moment: the end of the way is the target.
    EndIsTarget,
    /// The archive does not reach it.
    Failed(String),
}

/// Judges the end of a recovery by the last lines of PostgreSQL's log; none if they say nothing of
/// the target.
pub(crate) fn judge_log(log: &str, source: &RestoreSource, manifest: &Manifest) -> Option<Outcome> {
    let target = source.target;
    if log.contains("requested recovery stop point is before consistent recovery point") {
        let detail = format!(
            "{target} is before the end of the backup: {}",
            window(source, manifest)
        );
        return Some(Outcome::Failed(detail));
    }
    if !log.contains("recovery ended before configured recovery target was reached") {
        return None;
    }
    match target {
        Target::Time { at } if at <= source.complete_until => Some(Outcome::EndIsTarget),
        Target::End | Target::Lsn { .. } | Target::Time { .. } => Some(Outcome::Failed(format!(
            "{target} was not reached: {}",
            window(source, manifest)
        ))),
    }
}

/// Reads where PostgreSQL, now on `tli`, left the history that was restored, and checks that this is
/// the target. `to_end`: recovery had no other target than the end of the way. Blocks.
///
/// # Errors
/// Why it is not certain that the target was reached.
pub(crate) fn check(
    (data, directory): (&Path, &Path),
    tli: u32,
    source: &RestoreSource,
    to_end: bool,
) -> Result<Restored, String> {
    let name = format!("{tli:08X}.history");
    let history = fs::read_to_string(data.join("pg_wal").join(&name))
        .map_err(|error| format!("failed to read {name}: {error}"))?;
    let line = last_line(&history).ok_or_else(|| format!("{name} is not understood"))?;
    let last = source.path.last().ok_or("the way has no leg")?;
    if line.parent_tli != last.run.tli {
        return Err(format!(
            "PostgreSQL went on from tli {}, not {}",
            line.parent_tli, last.run.tli
        ));
    }
    let began_at = line.lsn;
    let left = source.leg_of(began_at, true).unwrap_or(last);
    let restored = Restored {
        tli,
        // PostgreSQL names the one that it was on its way to, wherever it stopped.
        parent_tli: left.run.tli,
        began_at,
    };
    match source.target {
        // PostgreSQL goes on after a target that it found, or not at all.
        Target::Lsn { lsn } if !to_end && line.is_at_target && began_at >= lsn => {
            return Ok(restored);
        }
        Target::Time { .. } if !to_end && line.is_at_target => return Ok(restored),
        Target::Lsn { lsn } if began_at < lsn => {
            return Err(format!(
                "position {lsn} was not reached: the last whole record before {} ends at {began_at}",
                last.end
            ));
        }
        Target::End | Target::Lsn { .. } | Target::Time { .. } => {}
    }
    let known = read_last_record(&directory.join(LAST_RECORD));
    let known = known.map_err(|error| format!("failed to read {LAST_RECORD}: {error}"))?;
    match known {
        Some(end) if end == began_at => Ok(restored),
        Some(end) => Err(format!(
            "PostgreSQL ended recovery at {began_at}, but the archive has records up to {end}"
        )),
        None => Err("it is not known where the last record of the archive ends".to_owned()),
    }
}

/// Reads where PostgreSQL, now on `tli`, left the history that it followed. Blocks.
///
/// # Errors
/// It has no history of its own, or another one than it was told to begin.
pub(crate) fn check_promotion(
    data: &Path,
    tli: u32,
    (source, wanted): (&RestoreSource, Option<u32>),
) -> Result<Restored, String> {
    let parent_tli = source.path.last().map_or(0, |last| last.run.tli);
    if tli <= parent_tli || wanted.is_some_and(|wanted| wanted != tli) {
        return Err(format!("PostgreSQL was promoted on tli {tli}"));
    }
    let name = format!("{tli:08X}.history");
    let history = fs::read_to_string(data.join("pg_wal").join(&name))
        .map_err(|error| format!("failed to read {name}: {error}"))?;
    let line = last_line(&history).ok_or_else(|| format!("{name} is not understood"))?;
    if line.parent_tli != parent_tli {
        return Err(format!(
            "PostgreSQL went on from tli {}, not {parent_tli}",
            line.parent_tli
        ));
    }
    Ok(Restored {
        tli,
        parent_tli,
        began_at: line.lsn,
    })
}

/// The last line of a history file.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    /// The `tli` that was left, and where.
    parent_tli: u32,
    lsn: Lsn,
    /// Whether PostgreSQL stopped there because of a target.
    is_at_target: bool,
}

fn last_line(history: &str) -> Option<Left> {
    let mut lines = history.lines().map(str::trim);
    let last = lines.rfind(|line| !line.is_empty() && !line.starts_with('#'))?;
    let mut words = last.split_whitespace();
    Some(Left {
        parent_tli: words.next()?.parse().ok()?,
        lsn: words.next()?.parse().ok()?,
        is_at_target: matches!(words.next(), Some("before" | "after")),
    })
}

#[cfg(test)]
mod tests;

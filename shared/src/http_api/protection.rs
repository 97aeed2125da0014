//! How well a resource is protected.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::archive::window::{Window, windows};
use crate::db::archive as stored;
use crate::domain::{Observation, ProofState};
use crate::units::Lsn;

/// How well a resource is protected against the loss of its server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Protection {
    /// Whether its WAL gets to the archive.
    pub state: ProtectionState,
    /// Everything up to here is in the archive; null before the first push.
    #[schema(value_type = Option<String>, example = "0/16B3748")]
    pub durable_up_to_lsn: Option<Lsn>,
    /// Moment that last moved; null before the first push.
    pub durable_at: Option<DateTime<Utc>>,
    /// Bytes of WAL that were observed and are not in the archive; null while nothing is known.
    pub bytes_behind: Option<u64>,
    /// Seconds for which the oldest of it waits: 0 when nothing waits, at most one push interval
    /// while pushes keep up; null before the first push.
    pub seconds_behind: Option<f64>,
    /// Milliseconds between two pushes.
    pub push_interval_ms: i32,
    /// Seconds back to which it can be restored, by its plan.
    pub retention_s: i32,
    /// Number of the current write period; null before the first.
    pub epoch: Option<i32>,
    /// WAL that is lost to the archive, the newest such place; null if there is none.
    pub gap: Option<ProtectionGap>,
    /// What can be restored, oldest first: one window, or more after WAL was lost; none before the
    /// first base backup.
    pub windows: Vec<RestoreWindow>,
    /// Number of base backups that a restore can begin from.
    pub backups: u32,
    /// Moment the newest of them was finished; null without one.
    pub last_backup_at: Option<DateTime<Utc>>,
    /// The newest proof that it can be restored: it was, on a server of its own, and nothing was
    /// found wrong with it. Null before the first.
    pub last_proof: Option<LastProof>,
    /// The newest attempt of a proof, if that has not succeeded: it is under way, or failed. Null if
    /// there is none.
    pub open_proof: Option<OpenProof>,
}

/// A proof that a resource can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastProof {
    /// Moment it ended.
    pub at: DateTime<Utc>,
    /// End of the last record that was replayed: everything before was there.
    #[schema(value_type = String, example = "0/16B3748")]
    pub lsn: Lsn,
    /// Everything that was committed before this moment was there.
    pub until: DateTime<Utc>,
    /// Milliseconds from the plan of the restore to the end of the check.
    pub took_ms: i64,
}

/// An attempt to prove that a resource can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenProof {
    /// Where it stands.
    pub state: ProofState,
    /// Moment it was asked for.
    pub asked_at: DateTime<Utc>,
    /// Moment its restore was planned; null before.
    pub started_at: Option<DateTime<Utc>>,
    /// Moment it failed; null while it is under way.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it failed; null while it is under way.
    pub problem: Option<String>,
    /// Bytes of files that are in place.
    pub bytes_done: u64,
    /// Bytes of all files; 0 before that is known.
    pub bytes_total: u64,
    /// WAL is replayed about up to here; null before that began.
    #[schema(value_type = Option<String>, example = "0/16B3748")]
    pub replay_lsn: Option<Lsn>,
    /// Tables and indexes that were checked.
    pub relations_done: u64,
    /// Tables and indexes that are to be checked; 0 before that is known.
    pub relations_total: u64,
}

impl LastProof {
    /// From a row; null if that has not succeeded.
    fn of(proof: &stored::Proof) -> Option<Self> {
        let (at, started_at) = proof.finished_at.zip(proof.started_at)?;
        Some(Self {
            at,
            lsn: proof.lsn?,
            until: proof.until?,
            took_ms: (at - started_at).num_milliseconds().max(0),
        })
    }
}

impl OpenProof {
    /// From a row; null if that has succeeded.
    fn of(proof: &stored::Proof) -> Option<Self> {
        (proof.state != ProofState::Succeeded).then(|| Self {
            state: proof.state,
            asked_at: proof.asked_at,
            started_at: proof.started_at,
            finished_at: proof.finished_at,
            problem: proof.problem.clone(),
            bytes_done: proof.bytes_done,
            bytes_total: proof.bytes_total,
            replay_lsn: proof.replay_lsn,
            relations_done: proof.relations_done,
            relations_total: proof.relations_total,
        })
    }
}

/// Whether WAL gets to the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProtectionState {
    /// Nobody is asked to push it: no worker has an archive, or it is not serving yet.
    Off,
    /// The first push is still to come.
    Starting,
    /// Pushes keep up.
    On,
    /// Some of it waits longer than it should.
    Behind,
}

/// WAL that PostgreSQL removed before it was in the archive: no restore goes across it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProtectionGap {
    /// First position that is missing.
    #[schema(value_type = String, example = "0/16B3748")]
    pub from_lsn: Lsn,
    /// First position after it that is there.
    #[schema(value_type = String, example = "0/3000000")]
    pub to_lsn: Lsn,
    /// Moment it was found.
    pub found_at: DateTime<Utc>,
}

/// Moments that can be restored, without a hole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestoreWindow {
    /// First position that can be restored.
    #[schema(value_type = String, example = "0/16B3748")]
    pub from_lsn: Lsn,
    /// Its moment, by the clock of the server.
    pub from_at: DateTime<Utc>,
    /// Last position that can be restored.
    #[schema(value_type = String, example = "0/3000000")]
    pub to_lsn: Lsn,
    /// Moment before which everything that was committed is there, by the clock of the server. Nothing
    /// was written since, unless WAL waits or is lost. Null where it is not known.
    pub to_at: Option<DateTime<Utc>>,
}

impl From<Window> for RestoreWindow {
    fn from(window: Window) -> Self {
        Self {
            from_lsn: window.from,
            from_at: window.from_at,
            to_lsn: window.to,
            to_at: window.to_at,
        }
    }
}

impl Protection {
    /// The same with what can be restored.
    #[must_use]
    pub fn with(self, restorable: &stored::Restorable) -> Self {
        let found = windows(&restorable.epochs, &restorable.bases);
        Self {
            windows: found.into_iter().map(RestoreWindow::from).collect(),
            backups: u32::try_from(restorable.bases.len()).unwrap_or(u32::MAX),
            last_backup_at: restorable.last_backup_at,
            ..self
        }
    }

    /// The same with proofs, the newest first.
    #[must_use]
    pub fn proven(self, proofs: &[stored::Proof]) -> Self {
        Self {
            last_proof: proofs.iter().find_map(LastProof::of),
            open_proof: proofs.first().and_then(OpenProof::of),
            ..self
        }
    }

    /// What is stored, as it looks at `now` beside the newest observation; without what can be
    /// restored.
    pub fn of(
        stored: &stored::Protection,
        observation: Option<&Observation>,
        now: DateTime<Utc>,
    ) -> Self {
        let seen = observation.and_then(|seen| seen.wal_lsn);
        let bytes_behind = stored
            .watermark
            .zip(seen)
            .map(|(watermark, seen)| seen.bytes().saturating_sub(watermark.bytes()));
        let seconds =
            |since: DateTime<Utc>| (now - since).to_std().unwrap_or_default().as_secs_f64();
        let interval = f64::from(stored.interval_ms) / 1000.0;
        let seconds_behind = match (stored.behind_since, stored.watermark_at) {
            (Some(since), _) => Some(seconds(since)),
            (None, Some(_)) if bytes_behind == Some(0) => Some(0.0),
            (None, moved) => moved.map(|moved| seconds(moved).min(interval)),
        };
        let state = match (stored.is_asked_for, stored.epoch) {
            (false, _) => ProtectionState::Off,
            (true, None) => ProtectionState::Starting,
            (true, Some(_)) if seconds_behind.is_some_and(|behind| behind > 3.0 * interval) => {
                ProtectionState::Behind
            }
            (true, Some(_)) => ProtectionState::On,
        };
        Self {
            state,
            durable_up_to_lsn: stored.watermark,
            durable_at: stored.watermark_at,
            bytes_behind,
            seconds_behind,
            push_interval_ms: stored.interval_ms,
            retention_s: stored.retention_s,
            epoch: stored.epoch,
            gap: stored.gap.map(|gap| ProtectionGap {
                from_lsn: gap.from,
                to_lsn: gap.to,
                found_at: gap.found_at,
            }),
            windows: Vec::new(),
            backups: 0,
            last_backup_at: None,
            last_proof: None,
            open_proof: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::Outage;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn stored() -> stored::Protection {
        stored::Protection {
            is_asked_for: true,
            epoch: Some(1),
            watermark: Some(Lsn::from_bytes(1000)),
            watermark_at: Some(at(100)),
            behind_since: None,
            interval_ms: 10_000,
            retention_s: 604_800,
            gap: None,
        }
    }

    /// The state and the seconds behind at second 500, with WAL observed at `seen`.
    #[track_caller]
    fn check(stored: &stored::Protection, seen: u64, state: ProtectionState, seconds: Option<f64>) {
        let mut observation = Observation::absent(at(499), Outage::Refused);
        observation.wal_lsn = Some(Lsn::from_bytes(seen));
        let protection = Protection::of(stored, Some(&observation), at(500));
        assert_eq!(
            (protection.state, protection.seconds_behind),
            (state, seconds)
        );
    }

    #[test]
    fn an_idle_database_is_never_behind() {
        check(&stored(), 1000, ProtectionState::On, Some(0.0));
    }

    #[test]
    fn between_two_pushes_it_is_at_most_one_interval_behind() {
        check(&stored(), 1500, ProtectionState::On, Some(10.0));
    }

    #[test]
    fn what_is_known_to_wait_is_behind() {
        let mut late = stored();
        late.behind_since = Some(at(440));
        check(&late, 1500, ProtectionState::Behind, Some(60.0));
    }

    #[test]
    fn without_a_push_nothing_is_known() {
        let mut new = stored();
        (new.epoch, new.watermark, new.watermark_at) = (None, None, None);
        check(&new, 1500, ProtectionState::Starting, None);
        new.is_asked_for = false;
        check(&new, 1500, ProtectionState::Off, None);
    }
}

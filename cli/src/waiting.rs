//! Waiting for an operation, or for a state, with the latest transition as progress.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use shared::clock::{Clock as _, SystemClock};
use shared::domain::{BackupState, OperationState, ProofState, ResourceState};
use shared::http_api::{
    Backup, ForkDetail, OpenProof, Operation, Page, ResourceDetail, Transition,
};
use tokio::time::{Instant, sleep};

use crate::client::{Call, Client};
use crate::failure::{Failure, FailureKind};
use crate::format::{bytes, percent, span};
use crate::progress::Progress;

/// Pause between two looks at first: a database is there in a second or two.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Looks until a goal is reached.
struct Watch<'a> {
    client: &'a Client,
    progress: Progress,
    deadline: Instant,
    pause: Duration,
    last_transition: i64,
}

/// What is shown while an operation is waited for.
#[derive(Debug, Clone, Copy)]
enum News {
    /// The newest step of a state machine.
    Transitions,
    /// How far the newest backup is.
    Backup,
    /// How far the restore of a copy is.
    Restore,
    /// How far a proof is that it can be restored.
    Proof,
}

/// Waits until `operation` has ended.
///
/// # Errors
/// [`FailureKind::Failed`] with its reason if it fails, [`FailureKind::TimedOut`] if it takes
/// longer than `patience`; it goes on then.
pub(crate) async fn for_operation(
    client: &Client,
    operation: &Operation,
    patience: Duration,
) -> Result<Operation, Failure> {
    until_ended(client, operation, patience, News::Transitions).await
}

/// The same for the request of a backup.
pub(crate) async fn for_backup(
    client: &Client,
    operation: &Operation,
    patience: Duration,
) -> Result<Operation, Failure> {
    until_ended(client, operation, patience, News::Backup).await
}

/// The same for a copy.
pub(crate) async fn for_fork(
    client: &Client,
    operation: &Operation,
    patience: Duration,
) -> Result<Operation, Failure> {
    until_ended(client, operation, patience, News::Restore).await
}

/// The same for a proof that something can be restored.
pub(crate) async fn for_restore_check(
    client: &Client,
    operation: &Operation,
    patience: Duration,
) -> Result<Operation, Failure> {
    until_ended(client, operation, patience, News::Proof).await
}

async fn until_ended(
    client: &Client,
    operation: &Operation,
    patience: Duration,
    news: News,
) -> Result<Operation, Failure> {
    let what = format!("{} {}", operation.kind, operation.resource_name);
    let mut watch = Watch::begin(client, &what, patience);
    let id = operation.id.to_string();
    let resource_id = operation.resource_id.to_string();
    loop {
        let path = ["operations", &id];
        if let Some(operation) = watch.look::<Operation>(Call::get(&path)).await? {
            match operation.state {
                OperationState::Pending => {}
                OperationState::Succeeded => {
                    watch.progress.done("");
                    return Ok(operation);
                }
                OperationState::Failed => {
                    let error = operation
                        .error
                        .unwrap_or_else(|| "no reason is known".to_owned());
                    watch.progress.given_up();
                    return Err(Failure::new(
                        FailureKind::Failed,
                        format!("{what} failed: {error}"),
                    )
                    .advise(format!(
                        "see: ringmaster events {}",
                        operation.resource_name
                    )));
                }
            }
        }
        match news {
            News::Transitions => watch.tell_transition(&resource_id).await,
            News::Backup => watch.tell_backup(&resource_id).await,
            News::Restore => watch.tell_restore(&resource_id).await,
            News::Proof => watch.tell_proof(&resource_id).await,
        }
        watch = watch.pause(&operation.resource_name).await?;
    }
}

/// Waits until a resource is available, or gone if it was asked to be destroyed.
pub(crate) async fn for_resource(
    client: &Client,
    name: &str,
    patience: Duration,
) -> Result<(), Failure> {
    let mut watch = Watch::begin(client, &format!("waiting for {name}"), patience);
    let mut leaving = false;
    loop {
        let path = ["resources", name];
        match watch.look::<ResourceDetail>(Call::get(&path)).await {
            Ok(Some(ResourceDetail { resource, .. })) => {
                leaving = resource.destroy_requested_at.is_some();
                let reached = if leaving {
                    resource.state == ResourceState::Deprovisioned
                } else {
                    resource.state == ResourceState::Available
                };
                if reached {
                    watch.progress.done(resource.state.as_str());
                    return Ok(());
                }
                watch.progress.news(resource.state.as_str());
            }
            Ok(None) => {}
            // Its name is free again: it is gone.
            Err(failure) if leaving && failure.kind() == FailureKind::NotFound => {
                watch.progress.done(ResourceState::Deprovisioned.as_str());
                return Ok(());
            }
            Err(failure) => {
                watch.progress.given_up();
                return Err(failure);
            }
        }
        watch.tell_transition(name).await;
        watch = watch.pause(name).await?;
    }
}

/// How far a backup is after `elapsed`.
fn how_far(backup: &Backup, elapsed: TimeDelta) -> String {
    match backup.bytes_total {
        Some(total) => share_and_rate((backup.bytes_done, total), elapsed),
        None => "PostgreSQL makes a checkpoint first".to_owned(),
    }
}

/// How far the restore of a copy is; none before it began, and when nothing is left to be told.
fn restore_line(fork: &ForkDetail, now: DateTime<Utc>) -> Option<String> {
    let Some(planned_at) = fork.planned_at else {
        return Some("the archive gets what was committed until now".to_owned());
    };
    if fork.transfer_bytes > 0 {
        let (done, total) = (bytes(fork.transferred_bytes), bytes(fork.transfer_bytes));
        return Some(format!(
            "brings the database over: {done}, of about {total}"
        ));
    }
    match (fork.bytes_total, fork.replay_lsn) {
        (0, _) => None,
        (total, _) if fork.bytes_done < total => {
            let so_far = share_and_rate((fork.bytes_done, total), now - planned_at);
            Some(format!("fetches {so_far}"))
        }
        (_, Some(replayed)) if fork.branch_lsn.is_none() => {
            Some(format!("replays WAL, now at {replayed}"))
        }
        (_, _) => None,
    }
}

/// How far a proof is; none when nothing is left to be told.
fn proof_line(proof: &OpenProof, now: DateTime<Utc>) -> Option<String> {
    let line = match proof.state {
        ProofState::Wanted => "waits until others are proven".to_owned(),
        ProofState::Restoring => match (proof.bytes_total, proof.replay_lsn) {
            (0, _) => "its server is being made".to_owned(),
            (total, _) if proof.bytes_done < total => {
                let elapsed = now - proof.started_at.unwrap_or(now);
                let so_far = share_and_rate((proof.bytes_done, total), elapsed);
                format!("fetches {so_far}")
            }
            (_, Some(replayed)) => format!("replays WAL, now at {replayed}"),
            (_, None) => "PostgreSQL starts".to_owned(),
        },
        ProofState::Checking => match proof.relations_total {
            0 => "the check begins".to_owned(),
            total => {
                let share = percent(proof.relations_done, Some(total));
                let done = proof.relations_done;
                format!("checks tables and indexes: {done} of {total} ({share})")
            }
        },
        ProofState::Succeeded | ProofState::Failed => return None,
    };
    Some(line)
}

fn share_and_rate((done, total): (u64, u64), elapsed: TimeDelta) -> String {
    let done = done.min(total);
    let share = percent(done, Some(total));
    let so_far = format!("{} of {} ({share})", bytes(done), bytes(total));
    let millis = elapsed.num_milliseconds().max(1).unsigned_abs();
    let rate = done.saturating_mul(1000) / millis;
    // What was done in the beginning says nothing about the rest.
    if rate == 0 || done < total / 100 {
        return so_far;
    }
    let left = i64::try_from((total - done) / rate).unwrap_or(i64::MAX / 1000);
    let left = span(TimeDelta::seconds(left));
    format!("{so_far}, {}/s, {left} left", bytes(rate))
}

impl<'a> Watch<'a> {
    fn begin(client: &'a Client, what: &str, patience: Duration) -> Self {
        Self {
            client,
            progress: Progress::begin(what),
            deadline: Instant::now() + patience,
            pause: PAUSE_MIN,
            last_transition: 0,
        }
    }

    /// One look; `None` while the API is away, which may pass.
    async fn look<T: DeserializeOwned>(&mut self, call: Call<'_>) -> Result<Option<T>, Failure> {
        match self.client.call(call).await {
            Ok(seen) => Ok(Some(seen)),
            Err(failure) if failure.kind() == FailureKind::Unreachable => {
                self.progress.news("the API does not answer; still trying");
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Shows the newest transition; a look that fails is not worth more than a missing line.
    async fn tell_transition(&mut self, resource: &str) {
        let path = ["resources", resource, "transitions"];
        let mut call = Call::get(&path);
        if self.last_transition > 0 {
            call = call.with("after", self.last_transition.to_string());
        }
        if let Ok(page) = self.client.call::<Page<Transition>>(call).await
            && let Some(newest) = page.data.iter().max_by_key(|transition| transition.id)
        {
            self.last_transition = newest.id;
            let Transition {
                machine, to, why, ..
            } = newest;
            self.progress.news(format!("{machine} is {to}: {why}"));
        }
    }

    /// Shows how far the backup under way is; a look that fails is not worth more than a missing
    /// line.
    async fn tell_backup(&mut self, resource: &str) {
        let path = ["resources", resource, "backups"];
        let call = Call::get(&path).with("limit", "1");
        if let Ok(page) = self.client.call::<Page<Backup>>(call).await
            && let Some(newest) = page.data.first()
            && newest.state == BackupState::Running
        {
            let line = how_far(newest, SystemClock.now() - newest.started_at);
            self.progress.news(line);
        }
    }

    /// Shows how far a restore is; a look that fails is not worth more than a missing line.
    async fn tell_restore(&mut self, resource: &str) {
        let path = ["resources", resource];
        let Ok(detail) = self.client.call::<ResourceDetail>(Call::get(&path)).await else {
            return;
        };
        match detail
            .fork
            .as_ref()
            .and_then(|fork| restore_line(fork, SystemClock.now()))
        {
            Some(line) => self.progress.news(line),
            None => self.tell_transition(resource).await,
        }
    }

    /// Shows how far a proof is; a look that fails is not worth more than a missing line.
    async fn tell_proof(&mut self, resource: &str) {
        let path = ["resources", resource];
        if let Ok(detail) = self.client.call::<ResourceDetail>(Call::get(&path)).await
            && let Some(protection) = detail.protection
            && let Some(proof) = protection.open_proof
            && let Some(line) = proof_line(&proof, SystemClock.now())
        {
            self.progress.news(line);
        }
    }

    async fn pause(mut self, name: &str) -> Result<Self, Failure> {
        if Instant::now() >= self.deadline {
            self.progress.given_up();
            return Err(Failure::new(FailureKind::TimedOut, "it takes longer than the time given")
                .advise(format!(
                    "it goes on; see: ringmaster events {name}; wait on with: ringmaster wait {name}"
                )));
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 5 / 4).min(PAUSE_MAX);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use shared::domain::BackupReason;
    use shared::ids::BackupId;

    use super::*;

    #[test]
    fn a_proof_tells_where_it_stands() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let mut proof = OpenProof {
            state: ProofState::Wanted,
            asked_at: at(0),
            started_at: None,
            finished_at: None,
            problem: None,
            bytes_done: 0,
            bytes_total: 0,
            replay_lsn: None,
            relations_done: 0,
            relations_total: 0,
        };
        let line = |proof: &OpenProof| proof_line(proof, at(12));
        let waits = Some("waits until others are proven".to_owned());
        assert_eq!(line(&proof), waits);
        (proof.state, proof.started_at) = (ProofState::Restoring, Some(at(10)));
        assert_eq!(line(&proof), Some("its server is being made".to_owned()));
        (proof.bytes_done, proof.bytes_total) = (50 << 20, 200 << 20);
        let fetches = "fetches 50 MiB of 200 MiB (25 %), 25 MiB/s, 6 s left".to_owned();
        assert_eq!(line(&proof), Some(fetches));
        (proof.state, proof.relations_done, proof.relations_total) = (ProofState::Checking, 3, 12);
        let checks = "checks tables and indexes: 3 of 12 (25 %)".to_owned();
        assert_eq!(line(&proof), Some(checks));
        proof.state = ProofState::Failed;
        assert_eq!(line(&proof), None);
    }

    #[test]
    fn progress_has_bytes_share_rate_and_time_left() {
        let mut backup = Backup {
            id: BackupId::new(),
            state: BackupState::Running,
            reason: BackupReason::Request,
            shared: false,
            from_follower: false,
            start_lsn: None,
            stop_lsn: None,
            stopped_at: None,
            bytes_done: 0,
            bytes_total: None,
            stored_bytes: None,
            damaged_pages: None,
            started_at: DateTime::UNIX_EPOCH,
            finished_at: None,
        };
        let after = |backup: &Backup, seconds| how_far(backup, TimeDelta::seconds(seconds));
        assert_eq!(after(&backup, 1), "PostgreSQL makes a checkpoint first");
        backup.bytes_total = Some(200 << 20);
        assert_eq!(after(&backup, 0), "0 B of 200 MiB (0 %)");
        backup.bytes_done = 50 << 20;
        assert_eq!(
            after(&backup, 2),
            "50 MiB of 200 MiB (25 %), 25 MiB/s, 6 s left"
        );
        backup.bytes_done = 300 << 20;
        assert_eq!(
            after(&backup, 10),
            "200 MiB of 200 MiB (100 %), 20 MiB/s, 0 s left"
        );
    }
}

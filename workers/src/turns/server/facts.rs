//! The facts decisions about a server and its participant are made from.

use std::time::Duration;

use shared::agent_api::{InstanceStatus, SlotStatus, SlotWal};
use shared::db::fleet::{ParticipantRow, ServerRow};
use shared::domain::ParticipantState;
use shared::machine::participant::{self, AgentReport, Holds};
use shared::machine::server;
use shared::units::Lsn;

use super::Look;
use crate::context::Context;
use crate::turns::since;

pub(super) fn of_server(
    context: &Context,
    row: &ServerRow,
    participant: Option<&ParticipantRow>,
    look: &Look,
) -> server::Facts {
    let now = context.now();
    server::Facts {
        state: row.state,
        time_in_state: since(now, row.state_since),
        deadline_passed: row.deadline_at.is_some_and(|deadline| deadline <= now),
        destroy_requested: row.destroy_requested_at.is_some(),
        cadence: Duration::from_millis(row.cadence_ms),
        address_known: row.host.is_some()
            && row.agent_port.is_some()
            && row.postgres_port.is_some(),
        silent_for: row.last_seen_at.map(|seen| since(now, seen)),
        provider: look.provider,
        agent: look.agent,
        participant: participant.map(|participant| participant.state),
    }
}

pub(super) fn of_participant(
    context: &Context,
    server: &ServerRow,
    row: &ParticipantRow,
    look: &Look,
    instruction_is_current: bool,
) -> participant::Facts {
    let now = context.now();
    participant::Facts {
        state: row.state,
        time_in_state: since(now, row.state_since),
        deadline_passed: row.deadline_at.is_some_and(|deadline| deadline <= now),
        destroy_requested: row.destroy_requested_at.is_some(),
        cadence: Duration::from_millis(server.cadence_ms),
        server: server.state,
        server_destroy_requested: server.destroy_requested_at.is_some(),
        generation: row.generation,
        acknowledged_generation: row.acknowledged_generation,
        instruction_is_current,
        crashes: row.crashes,
        agent: look
            .asked
            .as_ref()
            .and_then(|asked| Some(report(row, asked.status()?))),
    }
}

fn report(row: &ParticipantRow, status: &InstanceStatus) -> AgentReport {
    AgentReport {
        holds: match status.participant {
            None => Holds::Nothing,
            Some(held) if held == row.id => Holds::This,
            Some(_) => Holds::Another,
        },
        generation: status.generation,
        converged_generation: status.converged_generation,
        phase: status.phase,
        postgres_runs: status.postgres.is_some(),
        crashes: status.crashes,
        wants_reads: row.restore.is_some()
            && status.restore.as_ref().is_some_and(|restore| {
                // One that follows is under way for ever.
                match row.state {
                    // Why it failed is stored on the same way as how far it is.
                    ParticipantState::Creating => {
                        restore.is_under_way() || restore.failure().is_some()
                    }
                    ParticipantState::Planned
                    | ParticipantState::Serving
                    | ParticipantState::Down
                    | ParticipantState::Removing
                    | ParticipantState::Removed => restore.wants_something(),
                }
            }),
        wal_half_kept: status
            .postgres
            .as_ref()
            .is_some_and(|postgres| wal_is_half_kept(postgres.flush_lsn, postgres.archive_slot)),
    }
}

/// Whether so much WAL waits for the archive that people must know while there is time: half of what
/// may, or all of it.
fn wal_is_half_kept(flush: Option<Lsn>, slot: Option<SlotStatus>) -> bool {
    let Some(slot) = slot else {
        return false;
    };
    match slot.wal_status {
        SlotWal::Unreserved | SlotWal::Lost => true,
        SlotWal::Reserved | SlotWal::Extended => {
            let (Some(flush), Some(from), Some(left)) =
                (flush, slot.restart_lsn, slot.safe_wal_bytes)
            else {
                return false;
            };
            let kept = flush.bytes().saturating_sub(from.bytes());
            i64::try_from(kept).is_ok_and(|kept| kept >= left)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_may_wait_is_told_and_so_is_what_is_given_up() {
        let is_told = |wal_status, (from, safe): (u64, Option<i64>)| {
            let slot = SlotStatus {
                restart_lsn: Some(Lsn::from_bytes(from)),
                wal_status,
                safe_wal_bytes: safe,
            };
            wal_is_half_kept(Some(Lsn::from_bytes(1000)), Some(slot))
        };
        assert!(!is_told(SlotWal::Reserved, (600, Some(401))));
        assert!(is_told(SlotWal::Extended, (600, Some(400))));
        assert!(is_told(SlotWal::Extended, (600, Some(-1))));
        assert!(!is_told(SlotWal::Extended, (0, None)), "without a limit");
        assert!(is_told(SlotWal::Unreserved, (999, Some(900))));
        assert!(is_told(SlotWal::Lost, (999, None)));
        assert!(!wal_is_half_kept(Some(Lsn::from_bytes(1000)), None));
    }
}

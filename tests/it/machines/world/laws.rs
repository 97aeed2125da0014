//! What must hold at every moment, checked where it could cease to.

use shared::domain::{ParticipantState, ResourceState, ServerState};
use shared::machine::resource::Source;

use super::World;
use super::rows::Rid;

impl World {
    /// A resource may be called available only when its data is where its URL leads.
    pub(super) fn check_available(&self, id: Rid) {
        let row = self.rows.resources.row(id);
        let held = row.participant.is_some_and(|participant| {
            row.instructed
                .is_some_and(|at| at <= self.rows.participants.row(participant).acknowledged)
        });
        self.demand(held, || {
            format!("{id:?} is available without an acknowledged generation")
        });
        self.demand(row.source != Source::Donated, || {
            format!("{id:?} is available and was not brought over")
        });
        let routed = self.endpoint.get(&id).copied();
        self.demand(routed == row.endpoint && routed.is_some(), || {
            format!(
                "{id:?} is available at {:?} but routed to {routed:?}",
                row.endpoint
            )
        });
        self.demand(self.cloud.holds(id), || {
            format!("{id:?} is available without data")
        });
    }

    /// A name is free only when nothing is left behind it.
    pub(super) fn check_gone(&self, id: Rid) {
        let row = self.rows.resources.row(id);
        self.demand(!row.secrets && row.participant.is_none(), || {
            format!("{id:?} is not erased")
        });
        self.demand(!self.cloud.holds(id), || {
            format!("the name of {id:?} is free but its data is there")
        });
        let routed = self.endpoint.get(&id).copied();
        self.demand(routed.is_none(), || {
            format!("{id:?} is gone but routed to {routed:?}")
        });
    }

    /// No participant is led by two servers.
    pub(crate) fn check_leaders(&self) {
        let mut leaders = self.cloud.leaders();
        leaders.sort();
        let twice = leaders.windows(2).find(|pair| pair[0] == pair[1]);
        self.demand(twice.is_none(), || format!("two leaders: {twice:?}"));
    }

    /// What is not yet as everybody wished; nothing when the fleet is at rest.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let mut open = Vec::new();
        for (id, row) in self.rows.resources.iter() {
            let is_lost = row.fork.is_some_and(|fork| !fork.can_be_restored);
            let goal = if row.life.destroy_requested || is_lost {
                ResourceState::Deprovisioned
            } else {
                ResourceState::Available
            };
            if row.life.state != goal {
                let on = row.participant.map(|on| self.rows.participants.row(on));
                let state = row.life.state;
                open.push(format!(
                    "{id:?} is {state} instead of {goal}: {row:?} on {on:?}"
                ));
            }
        }
        for (id, row) in self.rows.servers.iter() {
            let participant = self.rows.participants.row(row.participant);
            let needed = !row.dedicated || self.rows.attached_to(row.participant).next().is_some();
            let (server, participant) = (row.life.state, participant.life.state);
            let well = if needed && participant != ParticipantState::Removed {
                server == ServerState::Ready && participant == ParticipantState::Serving
            } else {
                server == ServerState::Terminated && participant == ParticipantState::Removed
            };
            if !well {
                open.push(format!("{id:?} is {server}, its participant {participant}"));
            }
        }
        for id in self.cloud.list().filter(|id| !self.rows.is_living(*id)) {
            open.push(format!("the instance of {id:?} leaked"));
        }
        for id in self.cloud.databases() {
            if self.rows.resources.row(id).life.state == ResourceState::Deprovisioned {
                open.push(format!("the database of {id:?} leaked"));
            }
        }
        for (kind, id) in &self.rows.jobs {
            open.push(format!("{kind} of {id:?} is still a job"));
        }
        open
    }
}

//! What customers ask for: the intents that the API writes.

use std::time::Duration;

use shared::domain::{JobKind, ResourceState};
use shared::machine::resource::Source;

use super::rows::{Fork, Life, Resource, Rid};
use super::{Member, World};

impl World {
    /// A customer creates a resource.
    pub(crate) fn create(&mut self, dedicated: bool) -> Rid {
        self.intend(dedicated, None)
    }

    /// A customer forks a resource; which one does not matter here.
    pub(crate) fn fork(&mut self, can_be_restored: bool) -> Rid {
        self.intend(
            true,
            Some(Fork {
                noted: false,
                can_be_restored,
                by_transfer: false,
            }),
        )
    }

    /// A customer forks a resource, and one of the two shares its server.
    pub(crate) fn fork_by_transfer(&mut self, dedicated: bool) -> Rid {
        self.intend(
            dedicated,
            Some(Fork {
                noted: false,
                can_be_restored: true,
                by_transfer: true,
            }),
        )
    }

    fn intend(&mut self, dedicated: bool, fork: Option<Fork>) -> Rid {
        let id = Rid(self.rows.new_id());
        let resource = Resource {
            life: Life::new(self.now),
            dedicated,
            secrets: false,
            source: fork.map_or(Source::Empty, |_| Source::Wanted),
            fork,
            participant: None,
            instructed: None,
            endpoint: None,
            endpoint_generation: 0,
            endpoint_acknowledged: 0,
        };
        self.rows.resources.insert(id, resource);
        self.rows.jobs.insert((JobKind::Provision, id));
        self.wake(Member::Job(JobKind::Provision, id));
        self.wake(Member::Resource(id));
        id
    }

    /// A customer destroys a resource.
    pub(crate) fn destroy(&mut self, id: Rid) {
        self.rows
            .resources
            .overrule(id, |row| row.life.destroy_requested = true);
        self.tell(|| format!("{id:?} shall be destroyed"));
        self.wake(Member::Resource(id));
    }

    /// Time between two turns of a resource or server that is well.
    pub(super) fn cadence(dedicated: bool) -> Duration {
        Duration::from_secs(if dedicated { 10 } else { 60 })
    }

    pub(crate) fn state_of(&self, id: Rid) -> ResourceState {
        self.rows.resources.row(id).life.state
    }
}

//! What goes wrong.

use std::time::Duration;

use crate::machines::world::World;
use crate::machines::world::cloud::{Postgres, Power};
use crate::machines::world::queue::Queue;

/// The weather.
#[derive(Default)]
pub(super) struct Storm {
    /// Chance of a turn to die before its next phase.
    pub(super) deaths_permille: u64,
    /// Chance of a turn to be stalled before its next phase, often for longer than its lease.
    pub(super) stalls_permille: u64,
    /// Longest time of a phase that is not stalled.
    pub(super) slowest_phase_ms: u64,
    redis_down_until: Duration,
    /// What Redis would come back with if it lost its newest writes.
    copy: Option<Queue>,
}

impl Storm {
    pub(super) fn redis_is_down(&self, now: Duration) -> bool {
        now < self.redis_down_until
    }

    /// Fair weather from now on; what is broken stays broken until somebody repairs it.
    pub(super) fn end(&mut self, world: &mut World) {
        *self = Self::default();
        world.wakes_lost_permille = 0;
    }

    pub(super) fn strike(&mut self, world: &mut World) {
        match world.dice.below(14) {
            0 => self.weather(world),
            1 => world.queue.flush(),
            2 => self.copy = Some(world.queue.clone()),
            3 => {
                if let Some(copy) = self.copy.take() {
                    world.tell(|| "Redis lost its newest writes".to_owned());
                    world.queue = copy;
                }
            }
            4 => self.redis_down_until = world.now + world.dice.millis(1_000, 40_000),
            5 => world.cloud.silent_until = world.now + world.dice.millis(1_000, 60_000),
            _ => strike_a_server(world),
        }
    }

    fn weather(&mut self, world: &mut World) {
        self.deaths_permille = world.dice.below(40);
        self.stalls_permille = world.dice.below(20);
        self.slowest_phase_ms = world.dice.below(400);
        world.wakes_lost_permille = world.dice.below(500);
        world.cloud.boot_takes = world.dice.millis(200, 40_000);
        world.cloud.work_takes = world.dice.millis(20, 8_000);
    }
}

fn strike_a_server(world: &mut World) {
    let all: Vec<_> = world.cloud.list().collect();
    let Some(id) = world.dice.one_of(all) else {
        return;
    };
    world.pass_time_on(id);
    let (now, boot_takes) = (world.now, world.cloud.boot_takes);
    let kind = world.dice.below(8);
    let until = now + world.dice.millis(1_000, 120_000);
    let work_takes = world.dice.millis(20, 8_000);
    let with_agent = world.dice.chance(300);
    let Some(instance) = world.cloud.instance(id) else {
        return;
    };
    if matches!(instance.power, Power::Pending(_)) {
        return;
    }
    match kind {
        0 | 1 => instance.kill_postgres(),
        2 => instance.kill_agent(with_agent),
        3 => instance.boot(now + boot_takes),
        4 => instance.stop(),
        5 => instance.wedged = matches!(instance.postgres, Postgres::Running(_)),
        6 => instance.cut_off_until = until,
        _ => instance.work_takes = work_takes,
    }
    world.tell(|| format!("fault {kind} strikes {id:?}"));
}

//! Listens for wakes, so that a woken member does not wait for the next poll.
//!
//! Only latency depends on it: a wake that is not heard is found by the poll.

use std::sync::Arc;

use shared::queue::Queue;

use super::crew::Crew;

/// Passes wakes on to the schedules of `crews`, until dropped.
pub(super) async fn run(queue: Queue, crews: Vec<Arc<Crew>>) {
    let mut wakes = queue.subscribe_wakes().await;
    loop {
        let shard = wakes.next().await;
        if let Some(crew) = crews.iter().find(|crew| crew.ring == shard.ring) {
            crew.schedule.woken(shard.index);
        }
    }
}

//! The kept connections: at most one for each participant, used by one look at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::domain::Outage;
use shared::ids::ParticipantId;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::session::Session;

/// The place of one participant's connection. Whoever holds the guard may look.
pub(super) struct Slot {
    /// Taken out for as long as it works: a look that is dropped half-way drops the session too,
    /// so that nobody goes on in the middle of an answer.
    pub(super) session: Option<Session>,
    /// How the last look failed to reach the server, and when that was known.
    pub(super) failed: Option<(Instant, Outage)>,
    used_at: Instant,
}

/// All kept connections of a worker.
#[derive(Default)]
pub(super) struct Kept(Mutex<HashMap<ParticipantId, Arc<tokio::sync::Mutex<Slot>>>>);

impl Kept {
    /// Waits until nobody else looks at this participant.
    pub(super) async fn slot(&self, participant: ParticipantId) -> OwnedMutexGuard<Slot> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || {
                Arc::new(tokio::sync::Mutex::new(Slot {
                    session: None,
                    failed: None,
                    used_at: Instant::now(),
                }))
            };
            Arc::clone(slots.entry(participant).or_insert_with(new))
        };
        let mut slot = slot.lock_owned().await;
        slot.used_at = Instant::now();
        slot
    }

    /// Takes out the connection to one participant, unless it is being used.
    pub(super) fn take(&self, participant: ParticipantId) -> Option<Session> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = slots.remove(&participant)?.try_lock_owned().ok()?;
        slot.session.take()
    }

    /// Takes out all connections that nobody used for `idle`, or all that nobody is using.
    pub(super) fn take_idle(&self, idle: Duration) -> Vec<Session> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sessions = Vec::new();
        slots.retain(|_, slot| {
            // With the map locked nobody else can come to hold this slot.
            if Arc::strong_count(slot) > 1 {
                return true;
            }
            let Ok(mut slot) = slot.try_lock() else {
                return true;
            };
            let keep = slot.used_at.elapsed() < idle;
            if !keep {
                sessions.extend(slot.session.take());
            }
            keep
        });
        sessions
    }

    /// Number of connections that are kept and not being used just now.
    pub(super) fn len(&self) -> usize {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |slot: &&Arc<tokio::sync::Mutex<Slot>>| {
            slot.try_lock().is_ok_and(|slot| slot.session.is_some())
        };
        slots.values().filter(holds).count()
    }
}

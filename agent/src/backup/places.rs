//! The places that the worker has signed so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::agent_api::backup::{BackupOrder, PLACES_WANTED_MAX, WritePlace};
use tokio::sync::watch;

/// How many pieces ahead of the last one begun places are asked for: what a fast machine uploads
/// between two calls of its worker.
const AHEAD: u32 = 32;

/// The number that the manifest has here. Pieces count from 1.
pub(super) const MANIFEST: u32 = 0;

/// Signed places, which come from calls and go to uploads.
#[derive(Debug, Default)]
pub(super) struct Places {
    pool: Mutex<Pool>,
    /// Counts the calls that brought some.
    brought: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Pool {
    signed: BTreeMap<u32, WritePlace>,
    /// Waited for by uploads.
    waited_for: BTreeSet<u32>,
    /// Whether no further piece will be begun.
    complete: bool,
}

impl Places {
    /// Takes the places of an order; newer ones replace those of the same number.
    pub(super) fn bring(&self, order: &BackupOrder) {
        let mut pool = self.lock();
        pool.signed.insert(MANIFEST, order.manifest.clone());
        for (number, place) in &order.pieces {
            pool.signed.insert(*number, place.clone());
        }
        drop(pool);
        self.brought.send_modify(|calls| *calls += 1);
    }

    /// The newest place for a number; waits for one.
    pub(super) async fn place(&self, number: u32) -> WritePlace {
        let mut brought = self.brought.subscribe();
        loop {
            brought.mark_unchanged();
            {
                let mut pool = self.lock();
                if let Some(place) = pool.signed.get(&number).cloned() {
                    pool.waited_for.remove(&number);
                    return place;
                }
                pool.waited_for.insert(number);
            }
            if brought.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// A place was refused: it is not used again, and another one is asked for.
    pub(super) fn refused(&self, number: u32, place: &WritePlace) {
        let mut pool = self.lock();
        let newest = pool.signed.get(&number);
        if newest.is_some_and(|newest| newest.put.url == place.put.url) {
            pool.signed.remove(&number);
        }
    }

    /// An object is stored: its place is not needed any more.
    pub(super) fn used(&self, number: u32) {
        self.lock().signed.remove(&number);
    }

    /// No further piece will be begun.
    pub(super) fn complete(&self) {
        self.lock().complete = true;
    }

    /// Numbers of pieces that places are wanted for when `begun` is the last one begun, and whether
    /// one is wanted for the manifest.
    pub(super) fn wanted_after(&self, begun: u32) -> (Vec<u32>, bool) {
        let pool = self.lock();
        let ahead = if pool.complete { 0 } else { AHEAD };
        let ahead = begun.saturating_add(1)..=begun.saturating_add(ahead);
        let ahead = ahead.filter(|number| !pool.signed.contains_key(number));
        let waited_for = pool.waited_for.iter().copied();
        let wanted: BTreeSet<u32> = waited_for
            .filter(|number| *number != MANIFEST)
            .chain(ahead)
            .collect();
        let wanted = wanted.into_iter().take(PLACES_WANTED_MAX).collect();
        (wanted, pool.waited_for.contains(&MANIFEST))
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::agent_api::wal::Signed;
    use shared::archive::layout::Run;
    use shared::ids::{BackupId, ParticipantId, TimelineId};
    use shared::secret::Secret;

    use super::*;

    fn place(url: &str) -> WritePlace {
        let signed = Signed {
            url: Secret::new(url),
            headers: BTreeMap::new(),
            look_first: None,
        };
        WritePlace {
            put: signed.clone(),
            get: signed,
        }
    }

    fn order(pieces: &[(u32, &str)]) -> BackupOrder {
        BackupOrder {
            backup: BackupId::new(),
            participant: ParticipantId::new(),
            generation: 1,
            timeline: TimelineId::new(),
            system_identifier: 1,
            run: Run { epoch: 1, tli: 1 },
            pieces: pieces
                .iter()
                .map(|(number, url)| (*number, place(url)))
                .collect(),
            manifest: place("manifest"),
        }
    }

    #[tokio::test]
    async fn an_upload_waits_until_its_place_is_signed() {
        let places = Places::default();
        places.bring(&order(&[(1, "one")]));
        assert_eq!(places.place(1).await.put.url.expose(), "one");
        let bring = async {
            tokio::task::yield_now().await;
            assert!(places.wanted_after(2).0.starts_with(&[2, 3]));
            places.bring(&order(&[(2, "two")]));
        };
        let (second, ()) = tokio::join!(places.place(2), bring);
        assert_eq!(second.put.url.expose(), "two");
        assert!(places.wanted_after(2).0.starts_with(&[3, 4]));
    }

    #[tokio::test]
    async fn a_refused_place_is_asked_for_again() {
        let places = Places::default();
        places.bring(&order(&[(1, "one")]));
        let refused = places.place(1).await;
        places.refused(1, &refused);
        let again = async {
            tokio::task::yield_now().await;
            places.complete();
            assert_eq!(places.wanted_after(1), (vec![1], false));
            places.bring(&order(&[(1, "again")]));
        };
        let (newer, ()) = tokio::join!(places.place(1), again);
        assert_eq!(newer.put.url.expose(), "again");
        places.refused(1, &refused);
        assert_eq!(places.place(1).await.put.url.expose(), "again");
        places.used(1);
        assert_eq!(places.wanted_after(1), (vec![], false));
    }
}

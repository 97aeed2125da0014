//! The archive, as turns use it: places for agents to write to.

use std::ops::Range;
use std::sync::Arc;

use shared::agent_api::backup::WritePlace;
use shared::agent_api::wal::{Archived, Place};
use shared::archive::SIGNED_FOR;
use shared::archive::store::{ObjectStore, StoreError};
use shared::units::Lsn;

/// The archive. Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    /// Where the objects are.
    pub store: Arc<dyn ObjectStore>,
}

impl Archive {
    /// A place for an object. Makes no call.
    ///
    /// # Errors
    /// If the store cannot sign.
    pub async fn place(&self, key: &str) -> Result<WritePlace, StoreError> {
        Ok(WritePlace {
            put: self.store.sign_put(key, SIGNED_FOR).await?,
            get: self.store.sign_get(key, SIGNED_FOR).await?,
        })
    }

    /// Places for `ranges`, each under the name that `name` gives for its start. Makes no call.
    ///
    /// # Errors
    /// If the store cannot sign.
    pub async fn places(
        &self,
        ranges: impl IntoIterator<Item = &Range<Lsn>>,
        name: impl Fn(Lsn) -> String,
    ) -> Result<Vec<Place>, StoreError> {
        let mut places = Vec::new();
        for range in ranges {
            let WritePlace { put, get } = self.place(&name(range.start)).await?;
            places.push(Place {
                start: range.start,
                end: range.end,
                put,
                get,
            });
        }
        Ok(places)
    }

    /// Requests that read objects of these starts and names. Makes no call.
    ///
    /// # Errors
    /// If the store cannot sign.
    pub async fn archived(
        &self,
        names: impl IntoIterator<Item = (Lsn, String)>,
    ) -> Result<Vec<Archived>, StoreError> {
        let mut objects = Vec::new();
        for (start, key) in names {
            let get = self.store.sign_get(&key, SIGNED_FOR).await?;
            objects.push(Archived { start, get });
        }
        Ok(objects)
    }
}

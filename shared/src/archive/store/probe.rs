//! What a store can do, found out by trying.

use bytes::Bytes;

use super::{ObjectStore, Put, StoreError};

/// The object that is written to find out. It stays: there is nothing to clean up.
pub(super) const KEY: &str = "probe/conditional-put";

/// What a store can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It refuses to write over an object when it is told so (`If-None-Match: *`). Without this,
    /// two writers of one name are only kept apart by looking before writing.
    pub conditional_put: bool,
}

/// Finds out what `store` can do. Idempotent, also when it is killed halfway.
///
/// # Errors
/// [`StoreError`] if the store cannot say now, or refuses.
pub async fn probe(store: &dyn ObjectStore) -> Result<Capabilities, StoreError> {
    // Whether the first write or one of long ago stored it: the second one must be refused.
    store.put(KEY, Bytes::from_static(b"once")).await?;
    let second = store.put(KEY, Bytes::from_static(b"twice")).await?;
    Ok(of_second_write(second))
}

/// What the second write of a name tells.
pub(super) fn of_second_write(answer: Put) -> Capabilities {
    Capabilities {
        conditional_put: answer == Put::AlreadyThere,
    }
}

//! What a store can do, found out by trying.

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Put, StoreError};

/// The object that is written to find out. It stays: there is nothing to clean up.
pub(super) const KEY: &str = "probe/conditional-put";

/// What a store can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It refuses to write over an object when it is told so (`If-None-Match: *`). Without this,
    /// two writers of one name are only kept apart by looking before writing.
    pub conditional_put: bool,
}

/// Finds out what a store can do, where `write` writes [`KEY`] on the condition that it is not there.
///
/// # Errors
/// [`StoreError`] if the store cannot say now, or refuses.
pub(super) async fn probe<'a>(
    write: impl Fn(Bytes) -> BoxFuture<'a, Result<Put, StoreError>> + Send,
) -> Result<Capabilities, StoreError> {
    // Whether the first write or one of long ago stored it: the second one must be refused.
    write(Bytes::from_static(b"once")).await?;
    let second = write(Bytes::from_static(b"twice")).await?;
    Ok(Capabilities {
        conditional_put: second == Put::AlreadyThere,
    })
}

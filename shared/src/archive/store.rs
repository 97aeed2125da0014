//! The port to the store that the objects are in, and what is behind it.

#[cfg(any(test, feature = "fakes"))]
mod memory;
mod probe;
mod s3;
mod verdict;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::agent_api::wal::Signed;

#[cfg(any(test, feature = "fakes"))]
pub use memory::MemoryStore;
pub use probe::Capabilities;
pub use s3::{Encryption, S3Settings, S3Store};

/// Where objects are kept.
///
/// Names are those of [`super::layout`]; an adapter may put a prefix of its own before them.
pub trait ObjectStore: Send + Sync {
    /// Reads an object, or a part of it; null if there is none. A range (not empty) that reaches
    /// beyond the end reads up to the end, which may be nothing.
    fn get<'a>(
        &'a self,
        key: &'a str,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Writes an object if there is none of that name. Idempotent: whoever gets
    /// [`Put::AlreadyThere`] compares. The object is durable when the answer is [`Put::Stored`].
    fn put<'a>(&'a self, key: &'a str, content: Bytes) -> BoxFuture<'a, Result<Put, StoreError>>;

    /// Names that begin with `prefix`, in order, after `after`; at most `limit` (1..=1000). Fewer
    /// than `limit` only at the end.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: u16,
    ) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>>;

    /// Deletes objects (at most 1000); those that are not there are no error.
    fn delete<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// A request that reads `key`, good for `valid_for`. Makes no call.
    fn sign_get<'a>(
        &'a self,
        key: &'a str,
        valid_for: Duration,
    ) -> BoxFuture<'a, Result<Signed, StoreError>>;

    /// A request that writes `key` if there is no object of that name, good for `valid_for`; looking
    /// first is part of it unless the store is known to keep conditions. Makes no call.
    fn sign_put<'a>(
        &'a self,
        key: &'a str,
        valid_for: Duration,
    ) -> BoxFuture<'a, Result<Signed, StoreError>>;

    /// Finds out what the store can do, and remembers it. Idempotent, also when it is killed
    /// halfway.
    fn probe(&self) -> BoxFuture<'_, Result<Capabilities, StoreError>>;

    /// What the last [probe](Self::probe) found; null before.
    fn capabilities(&self) -> Option<Capabilities>;
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// An object of that name was there, and is as it was.
    AlreadyThere,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A store that could not do or say something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may work later.
    #[error("the archive could not {operation} {key}")]
    Transient {
        /// What was asked for.
        operation: &'static str,
        /// Name of the object, or the prefix of a list.
        key: String,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It will not work until a person changes something (credentials, bucket, rights).
    #[error("the archive refuses to {operation} {key}: {reason}")]
    Refused {
        /// What was asked for.
        operation: &'static str,
        /// Name of the object, or the prefix of a list.
        key: String,
        /// Why, and what to do.
        reason: String,
    },
}

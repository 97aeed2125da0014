//! A small S3 server on files: the archive of a `ringmaster up`, and of the tests.
//!
//! It speaks the part of S3 that the archive needs, with the signatures of AWS (version 4, in
//! headers and in URLs): buckets, objects put whole or in parts, read whole or in part, listed and deleted.
//! Guarantees:
//!
//! - An object is durable when its upload is answered with 200, and appears whole or not at all.
//! - `If-None-Match: *` is atomic: of any number of uploads to a free name exactly one gets 200,
//!   the others 412.
//! - Whatever an object is called, it lies below the directory of its bucket ([`names`]).
//! - Memory for one request is bounded, however large the object.
//! - What is not understood is refused with 501 rather than left out: versions, tags, encryption.
//! - An upload in parts is forgotten when the server ends before it is complete.
//!
//! ```text
//! <root>/lock                         one server for a root at a time
//! <root>/uploads/<number>             objects that are not complete; removed at start
//! <root>/buckets/<bucket>/a,/b,/c     the object a/b/c
//! ```
//!
//! Deliberately not here: more than one machine, more than one pair of keys, TLS. It listens on
//! the loopback interface only; a fleet uses a real S3.

mod disk;
mod http;
pub mod names;
mod options;
mod percent;
mod process;
mod s3;

pub use disk::{Disk, DiskError};
pub use http::{Answers, Listener, ObjectStore};
pub use options::ObjectStoreOptions;
pub use process::main;

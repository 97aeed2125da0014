//! `feel`: what is there to be seen of a database, from outside, now.
//!
//! A [`Prober`] looks at one [`Target`] and always answers with an
//! [`Observation`](shared::domain::Observation): a server that refuses, hangs or is broken is an
//! observation too. An [`ObservationWriter`] gathers observations and records them in the control
//! database; [`Newest`] is the memory of a worker between two looks.
//!
//! ```text
//! Target ──► Prober ──► Reach ──► Kept (one Session for each participant)
//!              │          └─────► Session: TLS, pinned settings, feel.sql, survey.sql
//!              ├─► Newest (what was seen last)
//!              └─► Observation ──► ObservationWriter ──► ObservationStore
//! ```
//!
//! Guarantees:
//! - A look costs one round trip over a kept connection. Connections are opened only when there is
//!   none, and for surveys of databases on shared servers.
//! - A look ends within the deadline, whatever the server does. What is slow – the size and the
//!   tables of a database – is asked at a slower cadence, after the look, and can fail without
//!   being an outage: the last numbers are shown on, with the moment they were counted.
//! - Nothing of the customer runs in our session, which is that of a superuser: the
//!   startup packet pins everything that he could set (`session.rs`).
//! - Nothing is written, so that an idle database stays idle. (Whoever reads the catalog first
//!   after a change leaves hint bits there, once; that may be us.)
//! - A connection whose statement was abandoned is not used again.
//!
//! To observe one more thing: a column in `feel.sql` (or in `survey.sql`, if it is slow), a field
//! in `look.rs`, and a line in `compose.rs`. Measure what it costs with `loadtest feel`.

mod budget;
mod compose;
mod config;
mod failure;
mod kept;
mod look;
mod metrics;
mod newest;
mod prober;
mod reach;
mod session;
mod store;
mod target;
mod tls;
mod waiting;
mod writer;

pub use config::{FeelConfig, RecordConfig};
pub use newest::{Newest, Seen};
pub use prober::Prober;
pub use store::ObservationStore;
pub use target::Target;
pub use writer::ObservationWriter;

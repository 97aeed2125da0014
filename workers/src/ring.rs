//! The worker loop: claims members of the rings, turns them, settles them.
//!
//! ```text
//!   Redis ──claim──▶ claim loop ──▶ lane 0 (apalis worker): outcome ▸ timeout ▸ panic ▸ handler
//!     ▲                   │    └──▶ lane 1 …                        │
//!     │                in flight (each member once) ◀── keeper      │
//!     └──────settle── settle loop ◀─────────────────────────────────┘
//! ```
//!
//! Each ring has a *crew* of its own: claim loop, lanes, keeper, settle loop, room for so many
//! members. So a flood in one ring takes nothing from another but its share of the processor, and
//! nothing starves what is urgent.
//!
//! Guarantees:
//! - a member is never turned twice at a time by one worker; by two only after a lease ended, and
//!   then the first is told ([`Turn::still_mine`]) and its settlement is refused;
//! - every claimed member is settled, handed back, or taken over after its lease;
//! - no error of Redis ends the loop: it backs off and goes on; a missing ring is rebuilt
//!   ([`Rebuild`]);
//! - no wall clock is read: leases are Redis's, and what is known of them here is monotonic.
//!
//! What it does not do: know what a turn is about ([`Handler`]), or store anything.

mod backend;
mod backoff;
mod claims;
mod crew;
mod handler;
mod in_flight;
mod job;
mod keeper;
mod lanes;
mod layers;
mod lease;
mod metrics;
mod owners;
mod rebuild;
mod schedule;
mod settings;
mod settles;
mod shift;
mod streaks;
mod wakes;

pub use backoff::{Backoff, spread};
pub use handler::{Failure, FailureKind, Handler, Turn, TurnError};
pub use lease::Lease;
pub use rebuild::{Rebuild, RebuildError, enter_all};
pub use settings::Settings;
pub use shift::{RingError, RingWorker};

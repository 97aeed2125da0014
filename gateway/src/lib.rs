//! The gateway: what makes the URL of a database stable.
//!
//! Each replica runs two `PgBouncer`s, one whose connections are sessions and one that lends them for
//! a transaction at a time, and keeps them as the routes in the control database say:
//!
//! ```text
//! routes (control database) ── read ──► Table ── render ──► pgbouncer.ini, users.txt
//!        ▲                                                        │ RELOAD, PAUSE, KILL, RESUME
//!        └──── "applied up to change 4711" ◄── look ──────────────┘
//! ```
//!
//! A round (`replica`) reads what changed, makes each bouncer what it should be, looks whether it
//! is, and says so. Rounds are level-triggered: a notification only makes the next one begin sooner.
//!
//! Guarantees:
//! - A change of one route touches no client of another.
//! - What is acknowledged was seen at the bouncer's own console.
//! - A replica that is cut off from the control database leads clients where it did before.
//! - A bouncer is not started before routes were read, so a new replica sends nobody astray.
//!
//! Deliberately not here: which server leads. No promise rests on a gateway: a former leader cannot
//! acknowledge anything because it is fenced, not because nobody is led to it.

mod bouncer;
mod certificate;
mod files;
mod options;
mod replica;
pub mod service;
mod table;

pub use options::GatewayOptions;

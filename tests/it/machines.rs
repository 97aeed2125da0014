//! The three machines of `shared::machine` over little real fakes of everything around them.
//!
//! `world` is a control database with versions, a queue with leases, a provider with agents, and an
//! endpoint; it takes turns exactly as `shared::machine` prescribes. `simulation` breaks it at
//! random; `crash` breaks it at every single step.

mod crash;
mod races;
mod simulation;
pub(crate) mod world;

//! The worker loop against a real Redis that fails in every way it can.

mod crashes;
mod cycle;
mod monitor;
mod outages;
mod overload;
mod world;

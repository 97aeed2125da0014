//! The fleet as a whole: what a customer asks for happens, and what breaks heals.

mod control_plane;
mod crowd;
mod databases;
mod life;
mod stalled;
mod wrong_clock;

//! The command line as a program, on a real API, control database and Redis. No worker runs: what
//! is asked for stays pending.

mod failures;
mod results;
mod up;
mod waiting;
mod world;

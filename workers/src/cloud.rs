//! Providers of machines: the adapters behind [`shared::ports::Provider`].

mod local;

pub use local::{LocalOptions, LocalProvider};

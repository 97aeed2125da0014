//! One suite for each port of `shared::ports`: what its documentation promises, held by the real
//! adapter and by the fake alike.

pub(crate) mod endpoint;
mod provider;

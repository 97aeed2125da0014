//! Choosing TCP ports of 127.0.0.1.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener};

use super::ProcessError;

/// Ports to choose from: below the range the system takes ports of outgoing connections from
/// (32768 by default), so that a server can come back on its port after a restart.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// A TCP port of 127.0.0.1 that nobody listens on at this moment, chosen at random.
///
/// # Errors
/// [`ProcessError::NoFreePort`] if a thousand attempts find none.
pub fn free_port() -> Result<u16, ProcessError> {
    DistinctPorts::default().settle(None)
}

/// Chooses ports that are all different, also from those that are somebody's although nobody
/// listens on them yet.
#[derive(Debug, Default)]
pub struct DistinctPorts(BTreeSet<u16>);

impl DistinctPorts {
    /// Chooses none of `taken`.
    pub fn other_than(taken: impl IntoIterator<Item = u16>) -> Self {
        Self(taken.into_iter().collect())
    }

    /// Keeps `known` if nobody has it, or else chooses one at random.
    ///
    /// # Errors
    /// [`ProcessError::NoFreePort`] if a thousand attempts find none.
    pub fn settle(&mut self, known: Option<u16>) -> Result<u16, ProcessError> {
        let count = u64::from(PORTS.end - PORTS.start);
        let attempts = (0..1000).filter_map(|_| {
            let random = RandomState::new().build_hasher().finish() % count;
            u16::try_from(random)
                .ok()
                .map(|offset| PORTS.start + offset)
        });
        let port = known
            .into_iter()
            .chain(attempts)
            .find(|port| !self.0.contains(port) && is_free(*port))
            .ok_or(ProcessError::NoFreePort)?;
        self.0.insert(port);
        Ok(port)
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_listened_on() {
        let port = free_port().unwrap();
        assert!(PORTS.contains(&port));
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn a_known_port_is_kept_unless_somebody_has_it() {
        let known = free_port().unwrap();
        let mut ports = DistinctPorts::default();
        assert_eq!(ports.settle(Some(known)).unwrap(), known);
        assert_ne!(
            ports.settle(Some(known)).unwrap(),
            known,
            "it was just chosen"
        );
        let mut ports = DistinctPorts::other_than([known]);
        assert_ne!(
            ports.settle(Some(known)).unwrap(),
            known,
            "it is somebody's"
        );
        let thief = TcpListener::bind((Ipv4Addr::LOCALHOST, known)).unwrap();
        let mut ports = DistinctPorts::default();
        assert_ne!(
            ports.settle(Some(known)).unwrap(),
            known,
            "somebody listens"
        );
        drop(thief);
    }
}

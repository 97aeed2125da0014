//! Whether a process serves clients: it goes on without its port when somebody else has that, and
//! only its log says so.

use std::fs;
use std::net::IpAddr;

/// State of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// Whether the process has a socket that listens at this port of this address (or of all).
pub(crate) fn listens(pid: u32, (address, port): (IpAddr, u16)) -> bool {
    let table = match address {
        IpAddr::V4(_) => "tcp",
        IpAddr::V6(_) => "tcp6",
    };
    let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
    let wanted = format!("{}:{port:04X}", as_in_proc(address));
    let own = inodes_of(pid);
    sockets_at(&table, &wanted).any(|inode| own.iter().any(|own| own == inode))
}

/// Inodes of the sockets that listen at `place`.
fn sockets_at<'a>(table: &'a str, place: &'a str) -> impl Iterator<Item = &'a str> {
    table.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_meant = fields.get(1) == Some(&place) && fields.get(3) == Some(&LISTENING);
        fields.get(9).copied().filter(|_| is_meant)
    })
}

/// An address as the kernel writes it: words of four bytes, each in the machine's own order.
fn as_in_proc(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| {
        let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        format!("{word:08X}")
    });
    words.collect::<Vec<_>>().concat()
}

fn inodes_of(pid: u32) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets
        .filter_map(|target| {
            let target = target.to_str()?.strip_prefix("socket:[")?;
            Some(target.strip_suffix(']')?.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn only_the_owner_of_a_socket_listens_there() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (own, first) = (std::process::id(), 1);
        assert!(listens(own, (Ipv4Addr::LOCALHOST.into(), port)));
        assert!(!listens(own, (Ipv4Addr::new(127, 0, 0, 2).into(), port)));
        assert!(!listens(first, (Ipv4Addr::LOCALHOST.into(), port)));
        drop(listener);
        assert!(!listens(own, (Ipv4Addr::LOCALHOST.into(), port)));
    }
}

//! The two ends of a transfer, as PostgreSQL's programs are told where to connect.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use shared::agent_api::transfer::TransferOrder;
use shared::ids::ServerId;
use shared::pki::server_name;

use super::incoming_name;
use crate::quote::conninfo_value;
use crate::render::AUTHORITY;

/// Where sessions of the owner go. Each end must prove with a certificate of ours which server it is.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    /// The database in the hidden instance.
    pub(super) there: String,
    /// The database that is filled here.
    pub(super) here: String,
}

/// The PostgreSQL of this server.
pub(super) struct Here<'a> {
    pub(super) server: ServerId,
    pub(super) listen_addresses: &'a [String],
    pub(super) port: u16,
}

impl Ends {
    pub(super) fn new(order: &TransferOrder, here: &Here<'_>, configuration: &Path) -> Self {
        let authority = configuration.join(AUTHORITY).display().to_string();
        let conninfo = |server, address: IpAddr, port: u16, database: &str| {
            let words = [
                ("host", server_name(server)),
                ("hostaddr", address.to_string()),
                ("port", port.to_string()),
                ("dbname", database.to_owned()),
                ("user", order.role.clone()),
                ("sslmode", "verify-full".to_owned()),
                ("sslrootcert", authority.clone()),
                ("gssencmode", "disable".to_owned()),
                ("connect_timeout", "10".to_owned()),
                ("keepalives_idle", "20".to_owned()),
                ("keepalives_interval", "5".to_owned()),
                ("keepalives_count", "3".to_owned()),
            ];
            words
                .map(|(name, value)| format!("{name}={}", conninfo_value(&value)))
                .join(" ")
        };
        let from = order.from;
        let own = here.listen_addresses.iter();
        let own = own.filter_map(|address| address.parse::<IpAddr>().ok());
        let own = own.filter(|address| !address.is_unspecified()).min();
        let own = own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Self {
            there: conninfo(from.server, from.host, from.port, &order.database),
            here: conninfo(here.server, own, here.port, &incoming_name(&order.database)),
        }
    }
}

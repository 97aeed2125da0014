//! The routes as this replica knows them.

use std::collections::{BTreeMap, BTreeSet};

use shared::db::resources::verifier_context;
use shared::db::routes::StoredRoute;
use shared::domain::Traffic;
use shared::ids::ResourceId;
use shared::ports::Address;
use shared::secret::{Secret, Vault, VaultError};

/// Where clients of one database are led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The resource.
    pub resource: ResourceId,
    /// Address of PostgreSQL.
    pub upstream: Address,
    /// What happens to clients.
    pub traffic: Traffic,
    /// Name of the database there.
    pub database: String,
    /// Who may log in.
    pub role: String,
    /// SCRAM verifier of that role's password: the one that the server has, too, so that a client's
    /// proof is good for both.
    pub verifier: Secret,
    /// Most connections to the server.
    pub connection_limit: u32,
    /// Number of the change that made it so.
    pub change: u64,
}

/// Leads by the name that clients use.
#[derive(Debug, Default)]
pub(crate) struct Table {
    leads: BTreeMap<String, Lead>,
    /// Resources whose newest word cannot be read: led as before, or not at all.
    unreadable: BTreeSet<ResourceId>,
}

impl Table {
    /// That of these routes alone.
    pub(crate) fn of(all: Vec<StoredRoute>, vault: &Vault) -> Self {
        let mut table = Self::default();
        table.take_up(all, vault);
        table
    }

    /// Takes up what changed, but for what cannot be read: that is nobody else's trouble.
    pub(crate) fn take_up(&mut self, changed: Vec<StoredRoute>, vault: &Vault) {
        for route in changed {
            let resource = route.resource;
            self.unreadable.remove(&resource);
            match open(route, vault) {
                Ok((name, Some(lead))) => drop(self.leads.insert(name, lead)),
                Ok((name, None)) => drop(self.leads.remove(&name)),
                Err(error) => {
                    tracing::error!(resource.id = %resource, %error, "a route cannot be read");
                    self.unreadable.insert(resource);
                }
            }
        }
    }

    /// Resources whose newest word cannot be read.
    pub(crate) fn unreadable(&self) -> &BTreeSet<ResourceId> {
        &self.unreadable
    }

    /// Every lead, by name.
    pub(crate) fn leads(&self) -> &BTreeMap<String, Lead> {
        &self.leads
    }
}

fn open(route: StoredRoute, vault: &Vault) -> Result<(String, Option<Lead>), VaultError> {
    let resource = route.resource;
    let (Some(upstream), Some(verifier)) = (route.upstream, route.verifier) else {
        return Ok((route.routing_name, None));
    };
    let lead = Lead {
        resource,
        upstream,
        traffic: route.traffic,
        database: route.database_name,
        role: route.role_name,
        verifier: vault.open(&verifier_context(resource), &verifier)?,
        connection_limit: route.connection_limit,
        change: route.change,
    };
    Ok((route.routing_name, Some(lead)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(vault: &Vault, resource: ResourceId, port: Option<u16>) -> StoredRoute {
        let sealed = vault.seal(&verifier_context(resource), &Secret::new("SCRAM"));
        StoredRoute {
            resource,
            upstream: port.map(|port| Address {
                host: "127.0.0.1".to_owned(),
                port,
            }),
            traffic: Traffic::Open,
            routing_name: "shop_1".to_owned(),
            database_name: "shop".to_owned(),
            role_name: "shop".to_owned(),
            verifier: Some(sealed),
            connection_limit: 20,
            change: 1,
        }
    }

    #[test]
    fn the_newest_word_counts_and_a_withdrawal_takes_away() {
        let vault = Vault::from_base64(&Vault::random_key()).unwrap();
        let (mut table, resource) = (Table::default(), ResourceId::new());
        let words = vec![
            route(&vault, resource, Some(1)),
            route(&vault, resource, Some(2)),
        ];
        table.take_up(words, &vault);
        assert_eq!(table.leads()["shop_1"].upstream.port, 2);
        table.take_up(vec![route(&vault, resource, None)], &vault);
        assert!(table.leads().is_empty());
    }

    #[test]
    fn what_cannot_be_opened_is_nobody_elses_trouble() {
        let vault = Vault::from_base64(&Vault::random_key()).unwrap();
        let other = Vault::from_base64(&Vault::random_key()).unwrap();
        let (mut table, resource, bad) = (Table::default(), ResourceId::new(), ResourceId::new());
        let words = vec![
            route(&other, bad, Some(2)),
            route(&vault, resource, Some(1)),
        ];
        table.take_up(words, &vault);
        assert_eq!(table.leads()["shop_1"].resource, resource);
        assert_eq!(table.unreadable().iter().collect::<Vec<_>>(), [&bad]);
        table.take_up(vec![route(&vault, bad, None)], &vault);
        assert!(table.unreadable().is_empty());
    }
}

//! An endpoint in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::ids::ResourceId;
use crate::ports::{Address, Endpoint, EndpointError, Place, Route};

/// A word to an endpoint that was refused and changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedWord {
    /// A higher generation was heard.
    OldGeneration,
    /// This generation was heard with another word.
    GenerationReused,
}

/// Routes from keys to addresses, each with the number of the newest word about it. A withdrawn
/// route keeps its number.
#[derive(Debug)]
pub struct Routes<K, A>(BTreeMap<K, (u64, Option<A>)>);

impl<K, A> Default for Routes<K, A> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, A: PartialEq> Routes<K, A> {
    /// Hears word number `generation` about `key`: points it at an address, or withdraws it. The
    /// same word again changes nothing.
    ///
    /// # Errors
    /// [`RefusedWord`] for a lower number than was heard, and for the same one with another word.
    pub fn hear(&mut self, key: K, generation: u64, to: Option<A>) -> Result<(), RefusedWord> {
        if let Some((heard, word)) = self.0.get(&key) {
            if generation < *heard {
                return Err(RefusedWord::OldGeneration);
            }
            if generation == *heard && to != *word {
                return Err(RefusedWord::GenerationReused);
            }
        }
        self.0.insert(key, (generation, to));
        Ok(())
    }

    /// Where `key` leads; null if it was never pointed anywhere, or withdrawn.
    pub fn get(&self, key: &K) -> Option<&A> {
        self.0.get(key)?.1.as_ref()
    }

    /// Number of routes that lead somewhere.
    pub fn in_force(&self) -> usize {
        self.0.values().filter(|(_, to)| to.is_some()).count()
    }
}

/// An endpoint that holds its routes in memory, and answers with the upstream's own address.
#[derive(Debug, Default)]
pub struct FakeEndpoint(Mutex<Routes<ResourceId, Address>>);

impl FakeEndpoint {
    /// Where the customers of a resource are led; null if nowhere.
    pub fn leads_to(&self, resource: ResourceId) -> Option<Address> {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes.get(&resource).cloned()
    }

    fn hear(
        &self,
        resource: ResourceId,
        generation: u64,
        to: Option<Address>,
    ) -> Result<(), EndpointError> {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = routes.hear(resource, generation, to);
        heard.map_err(|refused| match refused {
            RefusedWord::OldGeneration => EndpointError::OldGeneration {
                resource,
                generation,
            },
            RefusedWord::GenerationReused => EndpointError::GenerationReused {
                resource,
                generation,
            },
        })
    }
}

impl Endpoint for FakeEndpoint {
    fn point<'a>(&'a self, route: &'a Route) -> BoxFuture<'a, Result<Place, EndpointError>> {
        let to = route.upstream.clone();
        async move {
            self.hear(route.resource, route.generation, Some(to.clone()))?;
            Ok(Place {
                address: to,
                pooled_port: None,
                database: route.database.clone(),
            })
        }
        .boxed()
    }

    fn withdraw(
        &self,
        resource: ResourceId,
        generation: u64,
    ) -> BoxFuture<'_, Result<(), EndpointError>> {
        async move { self.hear(resource, generation, None) }.boxed()
    }
}

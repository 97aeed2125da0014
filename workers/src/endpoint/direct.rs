//! No endpoint between customers and servers.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::ids::ResourceId;
use shared::ports::{Endpoint, EndpointError, Place, Route};

/// The endpoint that is no endpoint: customers connect to the participant's own address.
///
/// It holds no route, so there is nothing that a late word could change and nothing to withdraw:
/// what customers use is the address that is recorded, and only the newest word is.
#[derive(Debug, Clone, Copy, Default)]
pub struct DirectEndpoint;

impl Endpoint for DirectEndpoint {
    fn point<'a>(&'a self, route: &'a Route) -> BoxFuture<'a, Result<Place, EndpointError>> {
        let place = Place {
            address: route.upstream.clone(),
            pooled_port: None,
            database: route.database.clone(),
        };
        async move { Ok(place) }.boxed()
    }

    fn withdraw(
        &self,
        _resource: ResourceId,
        _generation: u64,
    ) -> BoxFuture<'_, Result<(), EndpointError>> {
        async { Ok(()) }.boxed()
    }
}

//! Adapters behind [`shared::ports::Endpoint`].

use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::ids::ResourceId;
use shared::ports::{Address, Endpoint, EndpointError, Route};

/// The endpoint that is no endpoint: customers connect to the participant's own address.
///
/// The address is in force as soon as it is known, and there is nothing to withdraw.
#[derive(Debug, Clone, Copy, Default)]
pub struct DirectEndpoint;

impl Endpoint for DirectEndpoint {
    fn point<'a>(&'a self, route: &'a Route) -> BoxFuture<'a, Result<Address, EndpointError>> {
        async move { Ok(route.upstream.clone()) }.boxed()
    }

    fn withdraw(
        &self,
        _resource: ResourceId,
        _generation: u64,
    ) -> BoxFuture<'_, Result<(), EndpointError>> {
        async { Ok(()) }.boxed()
    }
}

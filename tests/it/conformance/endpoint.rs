//! What every endpoint keeps, and what those keep that hold routes.

use shared::domain::Traffic;
use shared::fakes::FakeEndpoint;
use shared::ids::ResourceId;
use shared::ports::{Address, Endpoint, EndpointError, Route};
use workers::endpoint::DirectEndpoint;

fn route(resource: ResourceId, generation: u64, port: u16) -> Route {
    let upstream = Address {
        host: "127.0.0.1".to_owned(),
        port,
    };
    Route {
        resource,
        generation,
        upstream,
        database: "shop".to_owned(),
        traffic: Traffic::Open,
    }
}

fn is_old<T>(answer: &Result<T, EndpointError>, resource: ResourceId, generation: u64) -> bool {
    matches!(
        answer,
        Err(EndpointError::OldGeneration { resource: of, generation: refused })
            if *of == resource && *refused == generation
    )
}

/// Each word in order, and each of them twice.
pub(crate) async fn hears_words_in_order(
    endpoint: &dyn Endpoint,
    [resource, other]: [ResourceId; 2],
) -> Result<(), EndpointError> {
    endpoint.withdraw(resource, 1).await?;
    let first = endpoint.point(&route(resource, 2, 7001)).await?;
    assert_eq!(endpoint.point(&route(resource, 2, 7001)).await?, first);
    endpoint.point(&route(other, 1, 7002)).await?;
    endpoint.point(&route(resource, 3, 7003)).await?;
    endpoint.withdraw(resource, 5).await?;
    endpoint.withdraw(resource, 5).await?;
    endpoint.point(&route(other, 1, 7002)).await?;
    endpoint.point(&route(resource, 6, 7001)).await?;
    Ok(())
}

/// Of an endpoint that holds routes: no word changes anything that comes after its successor.
pub(crate) async fn refuses_late_words(
    endpoint: &dyn Endpoint,
    resource: ResourceId,
) -> Result<(), EndpointError> {
    endpoint.point(&route(resource, 4, 7001)).await?;
    let late = endpoint.point(&route(resource, 3, 7002)).await;
    assert!(is_old(&late, resource, 3), "a route that is older");
    let late = endpoint.withdraw(resource, 3).await;
    assert!(is_old(&late, resource, 3), "a withdrawal that is older");
    let reused = endpoint.point(&route(resource, 4, 7002)).await;
    assert!(
        matches!(reused, Err(EndpointError::GenerationReused { .. })),
        "two words of one number: {reused:?}"
    );
    endpoint.withdraw(resource, 5).await?;
    for generation in [3, 4] {
        let late = endpoint.point(&route(resource, generation, 7001)).await;
        assert!(is_old(&late, resource, generation), "older than the end");
    }
    let reused = endpoint.point(&route(resource, 5, 7001)).await;
    assert!(
        matches!(reused, Err(EndpointError::GenerationReused { .. })),
        "the number of the end: {reused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_fake_keeps_the_contract_of_endpoints_that_hold_routes() -> Result<(), EndpointError> {
    let endpoint = FakeEndpoint::default();
    hears_words_in_order(&endpoint, [ResourceId::new(), ResourceId::new()]).await?;
    refuses_late_words(&endpoint, ResourceId::new()).await
}

#[tokio::test]
async fn a_late_word_does_not_move_a_route_of_the_fake() -> Result<(), EndpointError> {
    let (endpoint, resource) = (FakeEndpoint::default(), ResourceId::new());
    let newest = route(resource, 2, 7001);
    endpoint.point(&newest).await?;
    drop(endpoint.point(&route(resource, 1, 7002)).await);
    assert_eq!(endpoint.leads_to(resource), Some(newest.upstream));
    endpoint.withdraw(resource, 3).await?;
    drop(endpoint.point(&route(resource, 2, 7001)).await);
    assert_eq!(endpoint.leads_to(resource), None);
    Ok(())
}

#[tokio::test]
async fn the_direct_endpoint_hears_words_in_order() -> Result<(), EndpointError> {
    hears_words_in_order(&DirectEndpoint, [ResourceId::new(), ResourceId::new()]).await
}

/// It stands nowhere between customers and their participant: what it answers is the participant's
/// own address, whatever it was told before, and nothing of it is in force by the answer alone.
#[tokio::test]
async fn the_direct_endpoint_holds_no_route() -> Result<(), EndpointError> {
    let resource = ResourceId::new();
    for (generation, port) in [(2, 7001), (1, 7002), (2, 7003)] {
        let told = route(resource, generation, port);
        let place = DirectEndpoint.point(&told).await?;
        assert_eq!(
            (place.address, place.database),
            (told.upstream, told.database)
        );
        DirectEndpoint.withdraw(resource, generation).await?;
    }
    Ok(())
}

//! The description of the API is reviewed when it changes.

use super::world::World;

#[test]
fn the_description_is_the_reviewed_one() {
    insta::assert_json_snapshot!("openapi", api::openapi::document());
}

#[tokio::test]
async fn the_description_is_served() {
    let world = World::start().await;
    let served = world
        .api
        .send(world.api.request(http::Method::GET, "/openapi.json"))
        .await;
    let document = serde_json::to_value(api::openapi::document()).unwrap();
    assert_eq!(served.unwrap().json(), document);
}

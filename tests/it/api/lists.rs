//! Lists of what customers see.

use serde_json::json;
use shared::http_api::{Operation, Page, Plan, Resource};

use super::world::World;

#[tokio::test]
async fn plans_are_listed_with_what_they_offer() {
    let world = World::start().await;
    let plans: Page<Plan> = serde_json::from_str(&world.get("/v1/plans").await.text).unwrap();
    let offered: Vec<(&str, bool)> = plans
        .data
        .iter()
        .map(|plan| (plan.name.as_str(), plan.offered))
        .collect();
    assert_eq!(
        offered,
        [("hobby", true), ("premium", false), ("standard", true)]
    );
}

#[tokio::test]
async fn resources_and_operations_are_read_page_by_page() {
    let world = World::start().await;
    assert_eq!(
        world.get("/v1/resources").await.json(),
        json!({ "data": [], "next": null })
    );
    for number in 0..5 {
        world.create(&format!("shop-{number}")).await;
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let answer = world.get(&format!("/v1/resources?limit=2{after}")).await;
        let page: Page<Resource> = serde_json::from_str(&answer.text).unwrap();
        names.extend(page.data.into_iter().map(|resource| resource.name));
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["shop-0", "shop-1", "shop-2", "shop-3", "shop-4"]);

    let answer = world.get("/v1/operations?limit=2").await;
    let page: Page<Operation> = serde_json::from_str(&answer.text).unwrap();
    let newest: Vec<&str> = page
        .data
        .iter()
        .map(|row| row.resource_name.as_str())
        .collect();
    assert_eq!(newest, ["shop-4", "shop-3"]);
    let answer = world
        .get(&format!("/v1/operations?after={}", page.next.unwrap()))
        .await;
    let rest: Page<Operation> = serde_json::from_str(&answer.text).unwrap();
    assert_eq!((rest.data.len(), rest.next), (3, None));
    let answer = world.get("/v1/operations?resource=shop-3").await;
    let page: Page<Operation> = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(page.data.len(), 1);
}

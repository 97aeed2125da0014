//! Every route of the API has a row here, and asks for the scope that the row says.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use shared::domain::TokenScope;

use super::world::World;

const ID: &str = "019a9b3c-7d1e-7c3a-9f00-1b2c3d4e5f60";

/// Method, path, and the scope it needs; none: everybody may.
const ROUTES: &[(&str, &str, Option<TokenScope>)] = &[
    ("get", "/healthz", None),
    ("get", "/readyz", None),
    ("get", "/metrics", None),
    ("get", "/openapi.json", None),
    ("get", "/v1/resources", Some(TokenScope::Read)),
    ("post", "/v1/resources", Some(TokenScope::Write)),
    ("get", "/v1/resources/{resource}", Some(TokenScope::Read)),
    (
        "delete",
        "/v1/resources/{resource}",
        Some(TokenScope::Write),
    ),
    (
        "get",
        "/v1/resources/{resource}/url",
        Some(TokenScope::Write),
    ),
    (
        "get",
        "/v1/resources/{resource}/observations",
        Some(TokenScope::Read),
    ),
    (
        "get",
        "/v1/resources/{resource}/transitions",
        Some(TokenScope::Read),
    ),
    (
        "get",
        "/v1/resources/{resource}/backups",
        Some(TokenScope::Read),
    ),
    (
        "post",
        "/v1/resources/{resource}/backups",
        Some(TokenScope::Write),
    ),
    (
        "post",
        "/v1/resources/{resource}/restore-checks",
        Some(TokenScope::Write),
    ),
    (
        "post",
        "/v1/resources/{resource}/forks",
        Some(TokenScope::Write),
    ),
    (
        "post",
        "/v1/resources/{resource}/followers",
        Some(TokenScope::Write),
    ),
    (
        "post",
        "/v1/resources/{resource}/unfollow",
        Some(TokenScope::Write),
    ),
    (
        "post",
        "/v1/resources/{resource}/credentials/rotate",
        Some(TokenScope::Write),
    ),
    ("get", "/v1/plans", Some(TokenScope::Read)),
    ("get", "/v1/operations", Some(TokenScope::Read)),
    ("get", "/v1/operations/{id}", Some(TokenScope::Read)),
    ("get", "/v1/servers", Some(TokenScope::Admin)),
    ("get", "/v1/ring", Some(TokenScope::Admin)),
    ("get", "/v1/jobs", Some(TokenScope::Admin)),
    (
        "post",
        "/v1/jobs/{kind}/{id}/retry",
        Some(TokenScope::Admin),
    ),
    ("get", "/v1/tokens", Some(TokenScope::Admin)),
    ("post", "/v1/tokens", Some(TokenScope::Admin)),
    ("delete", "/v1/tokens/{id}", Some(TokenScope::Admin)),
];

#[test]
fn every_documented_route_has_a_row() {
    let document = serde_json::to_value(api::openapi::document()).unwrap();
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .unwrap()
                .keys()
                .map(|method| (method.clone(), path.clone()))
        })
        .collect();
    let rows: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(documented, rows);
    for (method, path, scope) in ROUTES {
        let secured = document["paths"][path][method]["security"].is_array();
        assert_eq!(secured, scope.is_some(), "{method} {path}: its description");
        for (status, response) in document["paths"][path][method]["responses"]
            .as_object()
            .unwrap()
        {
            let description = response["description"].as_str().unwrap();
            assert!(!description.is_empty(), "{method} {path} {status}");
        }
    }
}

#[tokio::test]
async fn every_route_asks_for_its_scope() {
    let world = World::start().await;
    let before = world.database.row_counts().await.unwrap();
    for (method, path, scope) in ROUTES {
        let path = path
            .replace("{kind}", "provision")
            .replace("{id}", ID)
            .replace("{resource}", ID);
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let send = async |token: Option<&str>| {
            let mut request = world.api.request(method.clone(), &path);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            world.api.send(request).await.unwrap()
        };
        let Some(scope) = scope else {
            assert!(send(None).await.status.is_success(), "{method} {path}");
            continue;
        };
        for token in [None, Some(""), Some("wrong")] {
            let answer = send(token).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(answer.code(), "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
        for held in TokenScope::ALL {
            let answer = send(Some(world.tokens.secret(*held))).await;
            let forbidden = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(
                forbidden,
                held < scope,
                "{method} {path} with {held}: {answer:?}"
            );
            assert_ne!(
                answer.status,
                StatusCode::UNAUTHORIZED,
                "{method} {path} with {held}"
            );
            assert!(
                !answer.status.is_server_error(),
                "{method} {path} with {held}: {answer:?}"
            );
        }
    }
    assert_eq!(
        world.database.row_counts().await.unwrap(),
        before,
        "asking changed something"
    );
}

//! Bad input gets a clear error and changes nothing.

use http::Method;
use shared::domain::TokenScope;
use tests::api_server::Answer;

use super::world::World;

/// What is sent, and what comes back.
struct Row {
    what: String,
    method: Method,
    path: &'static str,
    content_type: &'static str,
    body: String,
    status: u16,
    code: &'static str,
    /// Part of the detail, which says what to do.
    says: &'static str,
}

/// Bodies of `POST /v1/resources`: body, status, code, what is said.
const CREATES: &[(&str, u16, &str, &str)] = &[
    (
        r#"{"name":"blog","plan":"gold"}"#,
        422,
        "unknown_plan",
        "GET /v1/plans",
    ),
    (
        r#"{"name":"blog","plan":"premium"}"#,
        422,
        "unknown_plan",
        "premium",
    ),
    (
        r#"{"name":"shop","plan":"hobby"}"#,
        409,
        "name_taken",
        "destroy it first",
    ),
    (
        r#"{"name":"","plan":"hobby"}"#,
        422,
        "invalid_name",
        "1 to 40",
    ),
    (
        r#"{"name":"Shop","plan":"hobby"}"#,
        422,
        "invalid_name",
        "lower-case",
    ),
    (
        r#"{"name":"a'b","plan":"hobby"}"#,
        422,
        "invalid_name",
        "letters",
    ),
    (
        r#"{"name":"a\u0000b","plan":"hobby"}"#,
        422,
        "invalid_name",
        "letters",
    ),
    (r#"{"name":"blog"}"#, 400, "invalid_request", "plan"),
    (
        r#"{"name":1,"plan":"hobby"}"#,
        400,
        "invalid_request",
        "string",
    ),
    (
        r#"{"name":"a","plan":"hobby","n":1}"#,
        400,
        "invalid_request",
        "unknown field",
    ),
    (r#"{"name":"blog","#, 400, "invalid_request", "EOF"),
    ("name=blog", 400, "invalid_request", "expected"),
    ("", 400, "invalid_request", "EOF"),
];

/// Bodies of `POST /v1/tokens`, all refused with 400: body, what is said.
const TOKENS: &[(&str, &str)] = &[
    (r#"{"name":"x","scope":"owner"}"#, "admin"),
    (r#"{"name":"","scope":"read"}"#, "1 to 80"),
    (r#"{"name":"a\nb","scope":"read"}"#, "printable"),
    (r#"{"name":"x","scope":"read","expires_in_days":0}"#, "3650"),
    (
        r#"{"name":"x","scope":"read","expires_in_days":99999}"#,
        "3650",
    ),
];

const UNKNOWN: &str = "/v1/resources/019a9b3c-7d1e-7c3a-9f00-1b2c3d4e5f60";
const RETRY: &str = "/v1/jobs/provision/019a9b3c-7d1e-7c3a-9f00-1b2c3d4e5f60/retry";

/// Requests without a body: method, path, status, code, what is said.
const OTHERS: &[(Method, &str, u16, &str, &str)] = &[
    (Method::GET, UNKNOWN, 404, "not_found", "GET /v1/resources"),
    (
        Method::GET,
        "/v1/resources/nobody",
        404,
        "not_found",
        "nobody",
    ),
    (
        Method::GET,
        "/v1/resources/No%20body'",
        404,
        "not_found",
        "GET",
    ),
    (
        Method::GET,
        "/v1/resources/nobody/url",
        404,
        "not_found",
        "nobody",
    ),
    (
        Method::GET,
        "/v1/resources/nobody/observations",
        404,
        "not_found",
        "nobody",
    ),
    (
        Method::GET,
        "/v1/resources/nobody/transitions",
        404,
        "not_found",
        "nobody",
    ),
    (
        Method::GET,
        "/v1/resources/shop/url",
        409,
        "not_ready",
        "creating",
    ),
    (
        Method::GET,
        "/v1/operations/x",
        404,
        "not_found",
        "GET /v1/operations",
    ),
    (
        Method::GET,
        "/v1/operations?resource=nobody",
        404,
        "not_found",
        "nobody",
    ),
    (
        Method::GET,
        "/v1/resources?limit=0",
        400,
        "invalid_request",
        "1 and 1000",
    ),
    (
        Method::GET,
        "/v1/resources?limit=1001",
        400,
        "invalid_request",
        "1 and 1000",
    ),
    (
        Method::GET,
        "/v1/resources?limit=many",
        400,
        "invalid_request",
        "limit",
    ),
    (
        Method::GET,
        "/v1/resources?after=x",
        400,
        "invalid_request",
        "next",
    ),
    (
        Method::GET,
        "/v1/resources?page=2",
        400,
        "invalid_request",
        "after",
    ),
    (
        Method::GET,
        "/v1/jobs?state=lost",
        400,
        "invalid_request",
        "pending, dead",
    ),
    (
        Method::GET,
        "/v1/nothing",
        404,
        "not_found",
        "/openapi.json",
    ),
    (Method::GET, "/", 404, "not_found", "/openapi.json"),
    (
        Method::DELETE,
        UNKNOWN,
        404,
        "not_found",
        "GET /v1/resources",
    ),
    (
        Method::DELETE,
        "/v1/tokens/x",
        404,
        "not_found",
        "GET /v1/tokens",
    ),
    (Method::POST, RETRY, 404, "not_found", "GET /v1/jobs"),
    (
        Method::POST,
        "/v1/jobs/x/y/retry",
        404,
        "not_found",
        "GET /v1/jobs",
    ),
    (
        Method::PUT,
        "/v1/resources",
        405,
        "method_not_allowed",
        "/openapi.json",
    ),
    (
        Method::POST,
        "/healthz",
        405,
        "method_not_allowed",
        "/openapi.json",
    ),
];

fn create(body: impl Into<String>, status: u16, code: &'static str, says: &'static str) -> Row {
    let body = body.into();
    Row {
        what: body.chars().take(60).collect(),
        method: Method::POST,
        path: "/v1/resources",
        content_type: "application/json",
        body,
        status,
        code,
        says,
    }
}

fn rows() -> Vec<Row> {
    let named = |name: &str| format!(r#"{{"name":"{name}","plan":"hobby"}}"#);
    let id = named("abcdefab-7d1e-7c3a-9f00-1b2c3d4e5f60");
    let mut rows = vec![
        create(named(&"a".repeat(41)), 422, "invalid_name", "1 to 40"),
        create(id, 422, "invalid_name", "looks like an id"),
        create(named(&"a".repeat(70_000)), 413, "body_too_large", "65536"),
        create(
            "[".repeat(60_000),
            400,
            "invalid_request",
            "not as expected",
        ),
        Row {
            content_type: "application/x-www-form-urlencoded",
            ..create(
                named("blog"),
                415,
                "unsupported_media_type",
                "application/json",
            )
        },
    ];
    let creates = CREATES.iter();
    rows.extend(creates.map(|&(body, status, code, says)| create(body, status, code, says)));
    rows.extend(TOKENS.iter().map(|&(body, says)| Row {
        path: "/v1/tokens",
        ..create(body, 400, "invalid_request", says)
    }));
    rows.extend(OTHERS.iter().map(|(method, path, status, code, says)| Row {
        what: format!("{method} {path}"),
        method: method.clone(),
        path,
        ..create("", *status, code, says)
    }));
    rows
}

#[track_caller]
fn check(row: &Row, answer: &Answer) {
    let (what, json) = (&row.what, answer.json());
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (row.status, row.code),
        "{what}: {answer:?}"
    );
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{what}"
    );
    assert_eq!(json["status"], row.status, "{what}");
    assert_eq!(
        json["type"],
        format!("urn:ringmaster:problem:{}", row.code),
        "{what}"
    );
    assert_eq!(json["request_id"], answer.header("x-request-id"), "{what}");
    assert!(json["title"].is_string(), "{what}");
    assert_eq!(
        answer.header("allow").is_empty(),
        row.status != 405,
        "{what}"
    );
    let detail = json["detail"].as_str().unwrap();
    assert!(detail.contains(row.says), "{what}: {detail}");
    assert!(detail.len() < 1000, "{what}: {detail}");
}

#[tokio::test]
async fn bad_input_gets_a_clear_error_and_changes_nothing() {
    let world = World::start().await;
    world.create("shop").await;
    let before = world.database.row_counts().await.unwrap();
    for row in rows() {
        let mut request = world
            .api
            .request(row.method.clone(), row.path)
            .bearer_auth(world.tokens.secret(TokenScope::Admin));
        if row.method == Method::POST {
            request = request
                .header("content-type", row.content_type)
                .body(row.body.clone());
        }
        check(&row, &world.api.send(request).await.unwrap());
    }
    assert_eq!(world.database.row_counts().await.unwrap(), before);
}

#[tokio::test]
async fn bad_headers_get_a_clear_error() {
    let world = World::start().await;
    let before = world.database.row_counts().await.unwrap();
    for key in ["", &"k".repeat(256), "schlüssel"] {
        let answer = world.create_once("shop", key).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "invalid_request"),
            "{key}"
        );
        assert!(answer.text.contains("idempotency-key"), "{answer:?}");
    }
    for authorization in [
        "Basic eDp5",
        "Bearer",
        "wrong",
        &format!("Bearer {}", "x".repeat(5000)),
    ] {
        let request = world.api.request(Method::GET, "/v1/plans");
        let answer = world
            .api
            .send(request.header("authorization", authorization))
            .await
            .unwrap();
        assert_eq!(answer.status, 401, "{authorization}");
    }
    assert_eq!(world.database.row_counts().await.unwrap(), before);
}

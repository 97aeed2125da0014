//! Answers as HTTP responses.

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use serde::Serialize;
use shared::db;
use shared::http_api::{Operation, Page};
use warp::reply::Response;

/// `value` as JSON.
pub(crate) fn json(status: u16, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("our types have string keys and no NaN");
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(status).expect("every status we use is a valid one");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 202 with an operation to follow.
pub(crate) fn accepted(operation: &Operation) -> Response {
    let mut response = json(202, operation);
    let location = format!("/v1/operations/{}", operation.id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// A page of a list; `key` writes the key of the next page as text.
pub(crate) fn page<T, K, D>(page: db::Page<T, K>, key: impl Fn(K) -> String) -> Response
where
    D: From<T> + Serialize,
{
    let data: Vec<D> = page.items.into_iter().map(D::from).collect();
    json(
        200,
        &Page {
            data,
            next: page.next.map(key),
        },
    )
}

/// Text, for programs that read no JSON.
pub(crate) fn text(content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

//! What is done around every request: its id, its span, its metrics, its log line, and an answer
//! also when a handler panics.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use http::header::{ALLOW, HeaderValue};
use http::{HeaderMap, Method, Request};
use shared::http_api::{ProblemCode, REQUEST_ID_HEADER};
use shared::ids::RequestId;
use shared::telemetry::metrics::http::{HTTP_REQUEST_SECONDS, HTTP_REQUESTS};
use shared::telemetry::request_span;
use tokio::time::Instant;
use tower::{Service, ServiceExt as _};
use tracing::Instrument as _;
use warp::reply::Response;

use crate::allow;
use crate::failure::Failure;

/// Which route answered, for metrics and logs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route(pub(crate) &'static str);

/// No endpoint took the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unmatched(pub(crate) ProblemCode);

/// The id of a request: the client's, if it sent one that is a UUID, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> RequestId {
    headers
        .get(REQUEST_ID_HEADER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or_else(RequestId::new)
}

/// Answers one request through `routes`.
pub(crate) async fn answer<S, B>(routes: S, mut request: Request<B>) -> Result<Response, Infallible>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
{
    let started = Instant::now();
    let request_id = request_id(request.headers());
    let header = HeaderValue::from_str(&request_id.to_string()).expect("a UUID is ASCII");
    request
        .headers_mut()
        .insert(REQUEST_ID_HEADER, header.clone());
    let method = name_of(request.method());
    let path = request.uri().path().to_owned();
    let span = request_span(request_id);
    let caught = AssertUnwindSafe(routes.oneshot(request)).catch_unwind();
    let mut response = match caught.instrument(span.clone()).await {
        Ok(Ok(response)) => response,
        Err(_) => {
            span.in_scope(|| Failure::internal("the handler panicked").into_response(request_id))
        }
    };
    if let Some(Unmatched(code)) = response.extensions().get() {
        let detail = "GET /openapi.json lists what there is";
        let code = *code;
        response = Failure::new(code, detail).into_response(request_id);
        if code == ProblemCode::MethodNotAllowed
            && let Some(methods) = allow::methods_of(&path)
        {
            response.headers_mut().insert(ALLOW, methods);
        }
    }
    response.headers_mut().insert(REQUEST_ID_HEADER, header);
    span.in_scope(|| record(method, &response, started.elapsed().as_secs_f64()));
    Ok(response)
}

fn record(method: &'static str, response: &Response, seconds: f64) {
    let route = response
        .extensions()
        .get::<Route>()
        .map_or("none", |route| route.0);
    let status = response.status();
    metrics::counter!(
        HTTP_REQUESTS, "route" => route, "method" => method, "status" => status.as_str().to_owned()
    )
    .increment(1);
    metrics::histogram!(HTTP_REQUEST_SECONDS, "route" => route, "method" => method).record(seconds);
    let elapsed = (seconds * 1e6).round() / 1e6;
    let status = status.as_u16();
    // Who only looks, and mostly every few seconds, is not worth a line each.
    if method == "GET" && status < 400 {
        tracing::debug!(
            at = "finish",
            http.method = method,
            http.route = route,
            http.status = status,
            elapsed,
            "request answered"
        );
    } else {
        tracing::info!(
            at = "finish",
            http.method = method,
            http.route = route,
            http.status = status,
            elapsed,
            "request answered"
        );
    }
}

/// The name of a method, from a closed set: what a client makes up must not become a series.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

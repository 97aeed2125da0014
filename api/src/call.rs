//! One request, as the endpoints see it.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::de::DeserializeOwned;
use shared::db::Limit;
use shared::db::tokens::Bearer;
use shared::domain::TokenScope;
use shared::http_api::{BODY_BYTES_MAX, ListQuery, PAGE_ROWS_DEFAULT, ProblemCode};
use shared::ids::RequestId;
use shared::secret::Secret;
use shared::telemetry::metrics::http::HTTP_REFUSED;
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::app::App;
use crate::failure::Failure;
use crate::watch::{Route, request_id};

/// Longest time the body of a request may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    /// Follows the request through rows, queue, agents and logs.
    pub(crate) request_id: RequestId,
    route: &'static str,
    headers: HeaderMap,
    query: Option<ListQuery>,
    body: Result<Bytes, Failure>,
}

/// Takes everything but method and path from a request. Never rejects, so that the order of checks
/// is that of the handler.
pub(crate) fn call(
    route: &'static str,
) -> impl Filter<Extract = (Call,), Error = Rejection> + Clone {
    let query = warp::query::<ListQuery>()
        .map(Some)
        .or_else(|_| std::future::ready(Ok::<_, Infallible>((None,))));
    warp::header::headers_cloned()
        .and(query)
        .and(warp::body::stream())
        .then(move |headers: HeaderMap, query, body| async move {
            Call {
                request_id: request_id(&headers),
                route,
                headers,
                query,
                body: read(body).await,
            }
        })
}

async fn read<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>>) -> Result<Bytes, Failure> {
    let collect = async {
        let mut body = std::pin::pin!(body);
        let mut all = BytesMut::new();
        while let Some(part) = body.next().await {
            let part = part.map_err(|_| {
                Failure::new(
                    ProblemCode::InvalidRequest,
                    "the body did not arrive in full",
                )
            })?;
            if all.len() + part.remaining() > BODY_BYTES_MAX {
                return Err(Failure::new(
                    ProblemCode::BodyTooLarge,
                    format!("the body has more than {BODY_BYTES_MAX} bytes; no request needs that"),
                ));
            }
            all.put(part);
        }
        Ok(all.freeze())
    };
    tokio::time::timeout(BODY_PATIENCE, collect)
        .await
        .unwrap_or_else(|_| {
            Err(Failure::new(
                ProblemCode::InvalidRequest,
                "the body took too long to arrive",
            ))
        })
}

impl Call {
    /// Who calls, if their token allows `scope` and they do not call too often.
    ///
    /// # Errors
    /// 401, 403 or 429; 503 if the control database is away.
    pub(crate) async fn authorise(&self, app: &App, scope: TokenScope) -> Result<Bearer, Failure> {
        let refused = |reason: &'static str| {
            metrics::counter!(HTTP_REFUSED, "reason" => reason).increment(1);
        };
        let bearer = match self.token() {
            Some(token) => {
                app.tokens
                    .bearer(&app.pool, &token, app.clock.now())
                    .await?
            }
            None => None,
        };
        let Some(bearer) = bearer else {
            refused("unauthorised");
            return Err(Failure::new(
                ProblemCode::Unauthenticated,
                "send a token that is neither expired nor revoked as `Authorization: Bearer …`",
            ));
        };
        if let Err(wait) = app.limiter.take(bearer.id) {
            refused("rate_limit");
            return Err(Failure::rate_limited(wait));
        }
        if bearer.scope < scope {
            refused("unauthorised");
            let has = bearer.scope;
            return Err(Failure::new(
                ProblemCode::Forbidden,
                format!("this needs a token with the scope {scope}; yours has {has}"),
            ));
        }
        Ok(bearer)
    }

    fn token(&self) -> Option<Secret> {
        let value = self.headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| Secret::new(token.trim()))
    }

    /// A header as text; `None` if it is absent.
    ///
    /// # Errors
    /// 400 if it is empty, longer than 255 bytes, or not printable ASCII.
    pub(crate) fn header(&self, name: &'static str) -> Result<Option<&str>, Failure> {
        let Some(value) = self.headers.get(name) else {
            return Ok(None);
        };
        match value.to_str() {
            Ok(text) if (1..=255).contains(&text.len()) => Ok(Some(text)),
            _ => Err(Failure::new(
                ProblemCode::InvalidRequest,
                format!("{name} must be 1 to 255 printable ASCII characters"),
            )),
        }
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// 400, 413 or 415.
    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let body = std::mem::replace(&mut self.body, Ok(Bytes::new()));
        let body = body.inspect_err(|_| {
            metrics::counter!(HTTP_REFUSED, "reason" => "too_large").increment(1);
        })?;
        let content_type = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let essence = content_type
            .and_then(|value| value.split(';').next())
            .unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("application/json") {
            return Err(Failure::new(
                ProblemCode::UnsupportedMediaType,
                "send the body as JSON with `Content-Type: application/json`",
            ));
        }
        serde_json::from_slice(&body).map_err(|error| {
            Failure::new(
                ProblemCode::InvalidRequest,
                format!("the body is not as expected: {error}"),
            )
        })
    }

    /// What the query string asks a list for.
    ///
    /// # Errors
    /// 400 if it has anything else.
    pub(crate) fn query(&self) -> Result<&ListQuery, Failure> {
        self.query.as_ref().ok_or_else(|| {
            Failure::new(
                ProblemCode::InvalidRequest,
                "the query string may have after, limit (1 to 1000), resource and state",
            )
        })
    }

    /// How many rows of a list are asked for.
    ///
    /// # Errors
    /// 400 outside of 1 to 1000.
    pub(crate) fn limit(&self) -> Result<Limit, Failure> {
        Limit::new(self.query()?.limit.unwrap_or(PAGE_ROWS_DEFAULT)).ok_or_else(|| {
            Failure::new(
                ProblemCode::InvalidRequest,
                "limit must be between 1 and 1000",
            )
        })
    }

    /// The key of the page before, read by `read`.
    ///
    /// # Errors
    /// 400 if it is not one.
    pub(crate) fn after<K>(
        &self,
        read: impl FnOnce(&str) -> Option<K>,
    ) -> Result<Option<K>, Failure> {
        let Some(text) = &self.query()?.after else {
            return Ok(None);
        };
        read(text).map(Some).ok_or_else(|| {
            Failure::new(
                ProblemCode::InvalidRequest,
                "after is not the `next` of a page of this list",
            )
        })
    }

    /// The answer, ready to be counted under the name of its route.
    pub(crate) fn answer(&self, result: Result<Response, Failure>) -> Response {
        let mut response = result.unwrap_or_else(|failure| failure.into_response(self.request_id));
        response.extensions_mut().insert(Route(self.route));
        response
    }
}

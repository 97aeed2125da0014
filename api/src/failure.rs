//! Why a request is not carried out: what the client is told, and what the log is told.

use std::time::Duration;

use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use shared::db::DbError;
use shared::http_api::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode};
use shared::ids::RequestId;
use shared::telemetry::chain;
use warp::reply::Response;

use crate::answer;

/// A refusal or a failure.
#[derive(Debug)]
pub(crate) struct Failure {
    code: ProblemCode,
    /// For the client: what was wrong this time, and what to do.
    detail: String,
    /// For the log only.
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    retry_after: Option<Duration>,
}

impl Failure {
    /// A refusal; `detail` says what was wrong this time and what to do.
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            cause: None,
            retry_after: None,
        }
    }

    /// No such resource.
    pub(crate) fn no_resource(name_or_id: &str) -> Self {
        let name: String = name_or_id.chars().take(64).collect();
        Self::new(
            ProblemCode::NotFound,
            format!("there is no resource {name:?}; list them with GET /v1/resources"),
        )
    }

    /// Too many requests; the next one succeeds after `wait`.
    pub(crate) fn rate_limited(wait: Duration) -> Self {
        let mut failure = Self::new(
            ProblemCode::RateLimited,
            "this token sent too many requests; send the next after the time in Retry-After",
        );
        failure.retry_after = Some(wait);
        failure
    }

    /// Something that should not happen.
    pub(crate) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let mut failure = Self::new(
            ProblemCode::Internal,
            "this was logged; tell the operator the request_id",
        );
        failure.cause = Some(cause.into());
        failure
    }

    /// Something is away that will be back.
    pub(crate) fn unavailable(
        what: &str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let mut failure = Self::new(
            ProblemCode::Unavailable,
            format!("{what} does not answer; send the request again in a moment"),
        );
        failure.cause = Some(cause.into());
        failure.retry_after = Some(Duration::from_secs(1));
        failure
    }

    /// Tells the client, and the log what the client need not know.
    pub(crate) fn into_response(self, request_id: RequestId) -> Response {
        if let Some(cause) = &self.cause {
            let error = chain(cause.as_ref());
            if self.code == ProblemCode::Unavailable {
                tracing::warn!(error = %error, "request not carried out");
            } else {
                tracing::error!(error = %error, "request failed");
            }
        }
        let problem = Problem {
            kind: format!("urn:ringmaster:problem:{}", self.code.as_str()),
            title: self.code.title().to_owned(),
            status: self.code.status(),
            detail: self.detail,
            code: self.code,
            request_id,
        };
        let mut response = answer::json(self.code.status(), &problem);
        let headers = response.headers_mut();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static(PROBLEM_MEDIA_TYPE),
        );
        if self.code == ProblemCode::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, and not too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        if error.is_transient() {
            Self::unavailable("the control database", error)
        } else {
            Self::internal(error)
        }
    }
}

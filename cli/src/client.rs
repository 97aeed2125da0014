//! The HTTP API, as the command line calls it.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::http_api::{IDEMPOTENCY_KEY_HEADER, Page, Problem, ProblemCode};

use crate::connection::Target;
use crate::failure::{Failure, FailureKind};

/// Longest time one call may take.
const CALL_PATIENCE: Duration = Duration::from_secs(30);

/// Longest time to the connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Rows asked for at a time when all are wanted.
const ALL_ROWS: &str = "1000";

/// Calls the API.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    target: Target,
}

/// A call: its method, path and query.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(&'a str, String)>,
    idempotency_key: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// Reads.
    pub(crate) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// Asks for something new.
    pub(crate) fn post(path: &'a [&'a str]) -> Self {
        Self::new(Method::POST, path)
    }

    /// Asks for the end of something.
    pub(crate) fn delete(path: &'a [&'a str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            idempotency_key: None,
        }
    }

    /// Adds `?key=value`.
    #[must_use]
    pub(crate) fn with(mut self, key: &'a str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    /// Makes the call happen once, also if it is sent again with the same key: as it is if there was
    /// no answer.
    #[must_use]
    pub(crate) fn once(mut self, key: &'a str) -> Self {
        self.idempotency_key = Some(key);
        self
    }
}

impl Client {
    /// A client of the API at `target`.
    pub(crate) fn new(target: Target) -> Result<Self, Failure> {
        let invalid = |error: &dyn std::fmt::Display| {
            let message = format!("{:?} is not the URL of an API: {error}", target.api_url);
            Failure::new(FailureKind::Usage, message)
                .advise("it looks like this: --api-url http://127.0.0.1:8080")
        };
        let base = Url::parse(&target.api_url).map_err(|error| invalid(&error))?;
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(invalid(&"it must begin with http:// or https://"));
        }
        let http = reqwest::Client::builder()
            .timeout(CALL_PATIENCE)
            .connect_timeout(CONNECT_PATIENCE)
            .user_agent(concat!("ringmaster/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Failure::during("set up HTTP"))?;
        Ok(Self { http, base, target })
    }

    /// Makes a call without a body.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Failure> {
        self.send(call, None::<&()>).await
    }

    /// Makes a call with a body.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        body: Option<&impl Serialize>,
    ) -> Result<T, Failure> {
        match self.send_now(&call, body).await {
            // The answer may have been lost on its way; the key makes a second try safe.
            Err(failure)
                if failure.kind() == FailureKind::Unreachable && call.idempotency_key.is_some() =>
            {
                self.send_now(&call, body).await
            }
            sent => sent,
        }
    }

    async fn send_now<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        body: Option<&impl Serialize>,
    ) -> Result<T, Failure> {
        let mut request = self
            .http
            .request(call.method.clone(), self.address(call.path, &call.query))
            .bearer_auth(self.target.token.expose());
        if let Some(key) = call.idempotency_key {
            request = request.header(IDEMPOTENCY_KEY_HEADER, key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        // No answer with a body: null stands for it.
        if response.status() == StatusCode::NO_CONTENT {
            return serde_json::from_value(serde_json::Value::Null)
                .map_err(Failure::during("understand the empty answer of the API"));
        }
        response
            .json()
            .await
            .map_err(Failure::during("understand the answer of the API"))
    }

    /// Every row of a list.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Vec<T>, Failure> {
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let mut call = Call::get(path).with("limit", ALL_ROWS);
            call.query.extend(query.iter().cloned());
            call.query
                .extend(after.take().map(|after| ("after", after)));
            let page: Page<T> = self.call(call).await?;
            rows.extend(page.data);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(rows),
            }
        }
    }

    fn address(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut address = self.base.clone();
        if let Ok(mut segments) = address.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            address.query_pairs_mut().extend_pairs(query);
        }
        address
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let base = &self.target.api_url;
        // The outermost text repeats the address; its cause says what happened.
        let cause = error.source().map_or_else(
            || error.to_string(),
            |cause| shared::telemetry::chain(cause).to_string(),
        );
        let message = if error.is_timeout() {
            format!("the API at {base} did not answer in time")
        } else {
            format!("the API at {base} does not answer: {cause}")
        };
        Failure::new(FailureKind::Unreachable, message)
            .advise("is it running? see: ringmaster status; start it with: make up")
    }
}

async fn refused(response: Response) -> Failure {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    if let Ok(problem) = serde_json::from_str::<Problem>(&text) {
        return from_problem(&problem);
    }
    let text: String = text.chars().take(200).collect();
    Failure::new(
        FailureKind::Failed,
        format!("the API answered {status}: {}", text.trim()),
    )
    .advise("is --api-url the address of Ringmaster's API?")
}

fn from_problem(problem: &Problem) -> Failure {
    let (kind, advice) = match problem.code {
        ProblemCode::Unauthenticated => (
            FailureKind::NotAuthorised,
            Some("name a good token with --token-file, or set RINGMASTER_TOKEN"),
        ),
        ProblemCode::Forbidden => (
            FailureKind::NotAuthorised,
            Some("an administrator makes tokens that may: ringmaster tokens create NAME --scope …"),
        ),
        ProblemCode::NotFound => (
            FailureKind::NotFound,
            Some("see what there is: ringmaster list"),
        ),
        ProblemCode::NameTaken => (
            FailureKind::Conflict,
            Some("choose another name, or see what has it: ringmaster list"),
        ),
        ProblemCode::NotReady => (
            FailureKind::Conflict,
            Some("wait until it is ready: ringmaster wait NAME"),
        ),
        ProblemCode::Following => (
            FailureKind::Conflict,
            Some("see who follows whom: ringmaster info NAME"),
        ),
        ProblemCode::KeyReused => (FailureKind::Conflict, None),
        ProblemCode::UnknownPlan => (FailureKind::Usage, Some("see the plans: ringmaster plans")),
        ProblemCode::InvalidTarget => (
            FailureKind::Usage,
            Some("see what can be restored: ringmaster info NAME"),
        ),
        ProblemCode::InvalidRequest
        | ProblemCode::InvalidName
        | ProblemCode::PlanForbids
        | ProblemCode::MethodNotAllowed
        | ProblemCode::BodyTooLarge
        | ProblemCode::UnsupportedMediaType => (FailureKind::Usage, None),
        ProblemCode::RateLimited => (FailureKind::Failed, Some("wait a moment and try again")),
        ProblemCode::Internal => (
            FailureKind::Failed,
            Some("the log of the API has more under this request: .ringmaster/log/api.log"),
        ),
        ProblemCode::Unavailable => (FailureKind::Unreachable, Some("try again in a moment")),
    };
    let failure = Failure::new(kind, problem.to_string());
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

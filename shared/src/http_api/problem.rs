//! Errors.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::RequestId;

/// Why a request was not carried out (RFC 9457). It changed nothing, unless `code` is `internal` or
/// `unavailable`: then it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Kind of the problem as a URI: `urn:ringmaster:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words, always the same for one code.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was wrong this time, and what to do.
    pub detail: String,
    /// Kind of the problem, for programs.
    pub code: ProblemCode,
    /// The request, as it is found in logs and events.
    pub request_id: RequestId,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $word:literal, $title:literal;)+) => {
        /// Kinds of problems.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ProblemCode {
            $($(#[$doc])* $name,)+
        }

        impl ProblemCode {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The HTTP status it comes with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The kind as it is sent.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The kind in words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// The request cannot be read: no JSON, unknown fields, a malformed id or number.
    InvalidRequest = 400, "invalid_request", "The request cannot be read";
    /// No token, or one that is unknown, expired or revoked.
    Unauthenticated = 401, "unauthenticated", "A valid token is needed";
    /// The token's scope does not include this.
    Forbidden = 403, "forbidden", "The token does not allow this";
    /// There is no such thing (or not for this token).
    NotFound = 404, "not_found", "There is no such thing";
    /// The path exists, but not with this method.
    MethodNotAllowed = 405, "method_not_allowed", "The method is not allowed here";
    /// The name of another living resource.
    NameTaken = 409, "name_taken", "The name is taken";
    /// The resource is not far enough for that, for example it has no URL yet.
    NotReady = 409, "not_ready", "It is not ready for that";
    /// It follows another resource, or follows none, or others follow it.
    Following = 409, "following", "Who follows whom does not allow this";
    /// The body is longer than 64 KiB.
    BodyTooLarge = 413, "body_too_large", "The body is too large";
    /// The body is not `application/json`.
    UnsupportedMediaType = 415, "unsupported_media_type", "The body must be JSON";
    /// The name does not follow the rules of names.
    InvalidName = 422, "invalid_name", "The name is not valid";
    /// No plan of that name is offered.
    UnknownPlan = 422, "unknown_plan", "The plan is not offered";
    /// The plan has no such thing: for example no fork of a database that shares its server.
    PlanForbids = 422, "plan_forbids", "The plan does not allow this";
    /// A moment or position that is malformed, or that cannot be restored.
    InvalidTarget = 422, "invalid_target", "That cannot be restored";
    /// The idempotency key was sent with another request before.
    KeyReused = 422, "key_reused", "The idempotency key was used for another request";
    /// Too many requests of one token; wait as long as `Retry-After` says.
    RateLimited = 429, "rate_limited", "Too many requests";
    /// Our fault.
    Internal = 500, "internal", "Something went wrong on our side";
    /// The control database is away; try again.
    Unavailable = 503, "unavailable", "The control plane is not available at the moment";
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {} (request {})",
            self.title, self.detail, self.request_id
        )
    }
}

/// The codes as Markdown, for `docs/problems.md`.
pub fn render_problems() -> String {
    let mut text = String::from(
        "# Problems\n\nRendered from `shared/src/http_api/problem.rs`; do not edit.\n\n\
         What the API answers when it does not carry out a request: `application/problem+json`\n\
         (RFC 9457) with these codes, a `detail` that says what to do, and the `request_id` under\n\
         which logs and events have it. Only after `internal` and `unavailable` it is not known\n\
         whether the request changed something: send it again, with the same idempotency key.\n\n\
         | status | code | meaning |\n|---|---|---|\n",
    );
    let row = |code: &ProblemCode| {
        let (status, word, title) = (code.status(), code.as_str(), code.title());
        format!("| {status} | `{word}` | {title} |\n")
    };
    text.extend(ProblemCode::ALL.iter().map(row));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_sent_as_its_word() {
        for code in ProblemCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}

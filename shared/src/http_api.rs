//! What the HTTP API says and is told, shared by the API itself and the command line.
//!
//! Everything is JSON. Lists are [`Page`]s: ask for the next one with `?after=` and the text of
//! `next`. Errors are [`Problem`]s (RFC 9457). Moments are RFC 3339 in UTC. New fields may appear
//! at any time; readers ignore what they do not know.

mod backup;
mod from_db;
mod operation;
mod plan;
mod problem;
mod protection;
mod resource;
mod server;
mod token;
mod work;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use backup::Backup;
pub use operation::Operation;
pub use plan::Plan;
pub use problem::{Problem, ProblemCode, render_problems};
pub use protection::{
    LastProof, OpenProof, Protection, ProtectionGap, ProtectionState, RestoreWindow,
};
pub use resource::{
    Alert, CreateResource, Endpoint, FollowResource, FollowerLag, ForkDetail, ForkResource,
    Resource, ResourceDetail, ResourceUrl, Transition,
};
pub use server::{ParticipantSummary, Server};
pub use token::{CreateToken, NewToken, Token};
pub use work::{Dependency, Job, Readiness, RingStats};

/// Header that carries the id of a request, both ways.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// Header that makes a create sent twice happen once.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";

/// Media type of a [`Problem`].
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// Rows of a page when the request does not say.
pub const PAGE_ROWS_DEFAULT: u16 = 100;

/// Most bytes of a request body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// What to send as `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// What a list may be asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// `next` of the page before; absent for the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Most rows, 1 to 1000; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
    /// Name or id of a resource: only what belongs to it (operations).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Only jobs in this state (jobs).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

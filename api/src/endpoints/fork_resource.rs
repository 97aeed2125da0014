//! `POST /v1/resources/{resource}/forks`.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use shared::archive::plan::{Target, Unplannable};
use shared::db::archive::{Lineage, lineage};
use shared::db::idempotency::Key;
use shared::db::resources::Resource;
use shared::db::resources::create::{Copying, NewFork, NewResource};
use shared::db::resources::fork::timeline_of;
use shared::domain::{TokenScope, parse_moment};
use shared::http_api::{ForkResource, IDEMPOTENCY_KEY_HEADER, Operation, Problem, ProblemCode};
use shared::ids::{OperationId, ResourceId};
use shared::secret::Secret;
use shared::units::Lsn;
use warp::Filter as _;
use warp::reply::Response;

use super::copies::{accept, answered, refuse_follower};
use super::create_resource::{creating_at_most, valid_name};
use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::endpoints::find_resource;
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/resources/{resource}/forks";

/// Bytes by which a position may be ahead of the archive: whoever asks for a position that was just
/// written is not turned away because its WAL is still on its way.
const ON_ITS_WAY_BYTES: u64 = 1 << 30;

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "resources" / String / "forks")
        .and(warp::post())
        .and(call(PATH))
        .then(move |resource: String, mut call: Call| {
            let app = Arc::clone(&app);
            async move {
                let result = handle(&app, &mut call, &resource).await;
                call.answer(result)
            }
        })
        .boxed()
}

/// Asks for a writable copy of a resource, as it is now or as it was at a moment that can be restored. The original notices nothing. Sent again with the same `Idempotency-Key`, it gives the same answer and creates nothing.
#[utoipa::path(
    post,
    path = "/v1/resources/{resource}/forks",
    operation_id = "fork_resource",
    tag = "resources",
    params(
        ("resource" = String, Path, description = "name or id of the original"),
        ("idempotency-key" = Option<String>, Header, description = "any text of 1 to 255 characters; makes the request happen once"),
    ),
    request_body = ForkResource,
    security(("bearer" = [])),
    responses(
        (status = 202, description = "The copy is being made; follow the operation, and its progress in the new resource.", body = Operation, headers(("location" = String, description = "where to follow the operation"))),
        (status = 400, description = "The body cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The name is taken, or nothing of the original is in the archive.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The name is not valid, the plan is not offered, the moment cannot be restored, or the key was used for another request.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &mut Call, original: &str) -> Result<Response, Failure> {
    let bearer = call.authorise(app, TokenScope::Write).await?;
    let wanted: ForkResource = call.json()?;
    let request_hash = hash(original, &wanted);
    if let Some(answered) = answered(app, call, &bearer, request_hash).await? {
        return Ok(answer::accepted(&answered));
    }
    let original = find_resource(app, original).await?;
    let name = valid_name(&wanted.name)?;
    let plan = wanted.plan.clone().unwrap_or_else(|| original.plan.clone());
    refuse_follower(app, &original).await?;
    let now = app.clock.now();
    let asked = asked_target(&wanted, now)?;
    let lineage = lineage_of(app, &original).await?;
    check_target(&lineage, asked, now)?;
    refuse_before_it_was(&original, asked)?;
    let new = NewResource {
        id: ResourceId::new(),
        operation_id: OperationId::new(),
        name: &name,
        plan: &plan,
        fork: Some(NewFork {
            parent: original.id,
            copying: Copying::Once(asked),
        }),
        deadline_at: now + creating_at_most(),
        token_id: bearer.id,
        key: call
            .header(IDEMPOTENCY_KEY_HEADER)?
            .map(|key| Key { key, request_hash }),
        request_id: call.request_id,
        now,
    };
    accept(app, &new).await
}

fn asked_target(wanted: &ForkResource, now: DateTime<Utc>) -> Result<Target, Failure> {
    let refused = |detail: String| Failure::new(ProblemCode::InvalidTarget, detail);
    match (&wanted.to, &wanted.lsn, wanted.ago_s) {
        (None, None, None) => Ok(Target::End),
        (Some(to), None, None) => {
            let at = parse_moment(to).map_err(|error| refused(error.to_string()))?;
            Ok(Target::Time { at })
        }
        (None, Some(lsn), None) => {
            let lsn: Lsn = lsn
                .parse()
                .map_err(|error| refused(format!("{error}; a position looks like 0/3000060")))?;
            Ok(Target::Lsn { lsn })
        }
        (None, None, Some(seconds)) => {
            let at = now - TimeDelta::seconds(seconds.into());
            Ok(Target::Time { at })
        }
        _ => Err(refused(
            "only one of to, lsn and ago_s says as of when the copy shall be".to_owned(),
        )),
    }
}

pub(super) async fn lineage_of(app: &App, original: &Resource) -> Result<Lineage, Failure> {
    let found = match timeline_of(&app.pool, original.id).await? {
        Some(timeline) => lineage(&app.pool, timeline).await?,
        None => None,
    };
    found.ok_or_else(|| {
        Failure::new(
            ProblemCode::NotReady,
            format!(
                "nothing of {} is in the archive: it is new, or on its way out, or no worker has an \
                 archive; GET /v1/resources/{{resource}} shows its protection",
                original.name
            ),
        )
    })
}

/// Refuses a moment at which the original was not there: a server that it shares may be older.
fn refuse_before_it_was(original: &Resource, target: Target) -> Result<(), Failure> {
    match target {
        Target::Time { at } if at < original.created_at => Err(Failure::new(
            ProblemCode::InvalidTarget,
            format!(
                "{} was made at {}, and cannot be as it was at {}",
                original.name,
                original
                    .created_at
                    .to_rfc3339_opts(SecondsFormat::Secs, true),
                at.to_rfc3339_opts(SecondsFormat::Secs, true)
            ),
        )),
        Target::Time { .. } | Target::Lsn { .. } | Target::End => Ok(()),
    }
}

/// Refuses what will never be restored, and names what can be. What is written now may be on its
/// way to the archive.
fn check_target(lineage: &Lineage, target: Target, now: DateTime<Utc>) -> Result<(), Failure> {
    let refused = |refused: Unplannable| match refused {
        Unplannable::OutsideOfWindows { .. } => {
            Failure::new(ProblemCode::InvalidTarget, refused.to_string())
        }
        Unplannable::Broken(_) => Failure::new(ProblemCode::Internal, refused.to_string()),
    };
    let on_its_way = match target {
        // A first backup is waited for.
        Target::End => return Ok(()),
        Target::Time { .. } => false,
        Target::Lsn { lsn } => {
            let ahead = lsn.bytes().checked_sub(lineage.watermark.bytes());
            ahead.is_some_and(|ahead| ahead <= ON_ITS_WAY_BYTES)
        }
    };
    let target = if on_its_way { Target::End } else { target };
    lineage.plan(target, now).map(drop).map_err(refused)
}

/// What makes two requests with one key the same: their meaning, not their spelling.
fn hash(original: &str, wanted: &ForkResource) -> [u8; 32] {
    let ForkResource {
        name,
        plan,
        to,
        lsn,
        ago_s,
    } = wanted;
    Secret::new(format!(
        "POST {PATH} {original} {name} {plan:?} {to:?} {lsn:?} {ago_s:?}"
    ))
    .sha256()
}

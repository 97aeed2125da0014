//! `POST /v1/resources/{resource}/followers`.

use std::sync::Arc;

use shared::db::idempotency::Key;
use shared::db::plans::{self, Plan};
use shared::db::resources::Resource;
use shared::db::resources::create::{Copying, NewFork, NewResource};
use shared::domain::TokenScope;
use shared::http_api::{FollowResource, IDEMPOTENCY_KEY_HEADER, Operation, Problem, ProblemCode};
use shared::ids::{OperationId, ResourceId};
use shared::secret::Secret;
use warp::Filter as _;
use warp::reply::Response;

use super::copies::{accept, answered, refuse_follower};
use super::create_resource::{creating_at_most, valid_name};
use super::fork_resource::lineage_of;
use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::endpoints::find_resource;
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/resources/{resource}/followers";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "resources" / String / "followers")
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

/// Asks for a resource that replays what this one writes, for ever, and can be read meanwhile. It has a URL of its own, with the names and the password of the original. The original notices nothing. Sent again with the same `Idempotency-Key`, it gives the same answer and creates nothing.
#[utoipa::path(
    post,
    path = "/v1/resources/{resource}/followers",
    operation_id = "follow_resource",
    tag = "resources",
    params(
        ("resource" = String, Path, description = "name or id of the original"),
        ("idempotency-key" = Option<String>, Header, description = "any text of 1 to 255 characters; makes the request happen once"),
    ),
    request_body = FollowResource,
    security(("bearer" = [])),
    responses(
        (status = 202, description = "The follower is being made; follow the operation, and its progress in the new resource.", body = Operation, headers(("location" = String, description = "where to follow the operation"))),
        (status = 400, description = "The body cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The name is taken, nothing of the original is in the archive, it follows another one itself, or it has too many followers.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The name is not valid, a plan does not allow it, or the key was used for another request.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &mut Call, original: &str) -> Result<Response, Failure> {
    let bearer = call.authorise(app, TokenScope::Write).await?;
    let wanted: FollowResource = call.json()?;
    let request_hash = hash(original, &wanted);
    if let Some(answered) = answered(app, call, &bearer, request_hash).await? {
        return Ok(answer::accepted(&answered));
    }
    let original = find_resource(app, original).await?;
    let name = valid_name(&wanted.name)?;
    let plans = plans::list(&app.pool).await?;
    let plan = plan_of(&plans, &original, wanted.plan.as_deref())?;
    refuse_follower(app, &original).await?;
    refuse_smaller_plan(&plans, &original, &plan)?;
    lineage_of(app, &original).await?;
    let now = app.clock.now();
    let new = NewResource {
        id: ResourceId::new(),
        operation_id: OperationId::new(),
        name: &name,
        plan: &plan,
        fork: Some(NewFork {
            parent: original.id,
            copying: Copying::Following,
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

/// The plan of the follower. Both must have servers of their own: a follower replays everything that its
/// leader writes, and a shared one has neighbours.
fn plan_of(plans: &[Plan], original: &Resource, wanted: Option<&str>) -> Result<String, Failure> {
    let is_shared = |name: &str| {
        let mut found = plans.iter();
        found.any(|plan| plan.name == name && !plan.dedicated)
    };
    if is_shared(&original.plan) {
        return Err(Failure::new(
            ProblemCode::PlanForbids,
            format!(
                "{} is on plan {}, whose databases share a server; only a database with a server of \
                 its own can be followed",
                original.name, original.plan
            ),
        ));
    }
    let plan = wanted.unwrap_or(&original.plan);
    if is_shared(plan) {
        return Err(Failure::new(
            ProblemCode::PlanForbids,
            format!("a follower needs a server of its own, and databases on plan {plan} share one"),
        ));
    }
    Ok(plan.to_owned())
}

/// PostgreSQL does not replay what a server with more connections writes.
fn refuse_smaller_plan(plans: &[Plan], original: &Resource, plan: &str) -> Result<(), Failure> {
    let limit = |name: &str| {
        let found = plans.iter().find(|plan| plan.name == name);
        found.map(|plan| plan.connection_limit)
    };
    match (limit(&original.plan), limit(plan)) {
        (Some(needed), Some(offered)) if offered < needed => Err(Failure::new(
            ProblemCode::PlanForbids,
            format!(
                "a follower of {} needs a plan with at least {needed} connections; {plan} has {offered}",
                original.name
            ),
        )),
        _ => Ok(()),
    }
}

/// What makes two requests with one key the same: their meaning, not their spelling.
fn hash(original: &str, wanted: &FollowResource) -> [u8; 32] {
    let FollowResource { name, plan } = wanted;
    Secret::new(format!("POST {PATH} {original} {name} {plan:?}")).sha256()
}

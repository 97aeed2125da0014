//! `GET /v1/resources/{resource}`.

use std::sync::Arc;

use shared::db::{alerts, archive, observations, resources};
use shared::domain::TokenScope;
use shared::http_api::{Alert, FollowerLag, ForkDetail, Problem, Protection, ResourceDetail};
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::endpoints::find_resource;
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/resources/{resource}";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "resources" / String)
        .and(warp::get())
        .and(call(PATH))
        .then(move |resource: String, call: Call| {
            let app = Arc::clone(&app);
            async move {
                let result = handle(&app, &call, &resource).await;
                call.answer(result)
            }
        })
        .boxed()
}

/// Shows a resource, its newest observation and its open alerts. By id also after its end.
#[utoipa::path(
    get,
    path = "/v1/resources/{resource}",
    operation_id = "get_resource",
    tag = "resources",
    params(("resource" = String, Path, description = "name or id of the resource")),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The resource.", body = ResourceDetail),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call, resource: &str) -> Result<Response, Failure> {
    call.authorise(app, TokenScope::Read).await?;
    let resource = find_resource(app, resource).await?;
    let (observation, alerts, protection, restorable, proofs, fork, followers) = tokio::try_join!(
        observations::newest(&app.pool, resource.id),
        alerts::open_of_resource(&app.pool, resource.id),
        archive::protection_of(&app.pool, resource.id),
        archive::restorable_of(&app.pool, resource.id),
        archive::proofs_of(&app.pool, resource.id),
        resources::fork::fork_of(&app.pool, resource.id),
        resources::fork::followers_of(&app.pool, resource.id),
    )?;
    let now = app.clock.now();
    let followed = fork.as_ref().filter(|fork| fork.is_following());
    let lag = match (followed, &observation) {
        (Some(followed), Some(seen)) => {
            let leader = observations::newest(&app.pool, followed.parent_id).await?;
            FollowerLag::of(seen, leader.as_ref(), (followed.behind_since, now))
        }
        _ => None,
    };
    let protection = protection
        .filter(|_| followed.is_none())
        .map(|stored| Protection::of(&stored, observation.as_ref(), now))
        .map(|protection| protection.with(&restorable).proven(&proofs));
    let alerts = alerts.into_iter().map(Alert::from).collect();
    Ok(answer::json(
        200,
        &ResourceDetail {
            resource: resource.into(),
            observation,
            fork: fork.map(ForkDetail::from),
            lag,
            followers,
            protection,
            alerts,
        },
    ))
}

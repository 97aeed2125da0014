//! `DELETE /v1/resources/{resource}`.

use std::sync::Arc;

use shared::db::DbError;
use shared::db::resources::destroy::{DestroyError, DestroyRequest, request_destroy};
use shared::domain::TokenScope;
use shared::http_api::{Operation, Problem, ProblemCode};
use shared::ids::OperationId;
use shared::queue::Member;
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
        .and(warp::delete())
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

/// Asks for the end of a resource and of all its data. Sent again, it gives the same operation.
#[utoipa::path(
    delete,
    path = "/v1/resources/{resource}",
    operation_id = "destroy_resource",
    tag = "resources",
    params(("resource" = String, Path, description = "name or id of the resource")),
    security(("bearer" = [])),
    responses(
        (status = 202, description = "The resource is being removed; follow the operation.", body = Operation, headers(("location" = String, description = "where to follow the operation"))),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such living resource.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Others follow it.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call, resource: &str) -> Result<Response, Failure> {
    let bearer = call.authorise(app, TokenScope::Write).await?;
    let found = find_resource(app, resource).await?;
    let request = DestroyRequest {
        resource_id: found.id,
        operation_id: OperationId::new(),
        token_id: bearer.id,
        request_id: call.request_id,
        now: app.clock.now(),
    };
    let failed = DbError::during("request the end of a resource");
    let mut transaction = app.pool.begin().await.map_err(failed)?;
    let operation = request_destroy(&mut transaction, &request).await?;
    transaction.commit().await.map_err(failed)?;
    let operation = operation.ok_or_else(|| Failure::no_resource(resource))?;
    app.wakes.wake(Member::of_resource(&found.plan, found.id));
    Ok(answer::accepted(&Operation::from(operation)))
}

impl From<DestroyError> for Failure {
    fn from(error: DestroyError) -> Self {
        match error {
            DestroyError::HasFollowers(_) => Self::new(
                ProblemCode::Following,
                format!("{error}; destroy them, or let them go on by themselves, first"),
            ),
            DestroyError::Db(error) => error.into(),
        }
    }
}

//! `POST /v1/resources/{resource}/unfollow`.

use std::sync::Arc;

use shared::db::DbError;
use shared::db::resources::unfollow::{UnfollowError, UnfollowRequest, request_unfollow};
use shared::domain::{JobKind, TokenScope};
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

const PATH: &str = "/v1/resources/{resource}/unfollow";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "resources" / String / "unfollow")
        .and(warp::post())
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

/// Makes a database of its own of a follower: writable, on a history that begins where its replay ends, and protected by itself. Its URL stays. Sent again while that is under way, it gives the same operation.
#[utoipa::path(
    post,
    path = "/v1/resources/{resource}/unfollow",
    operation_id = "unfollow_resource",
    tag = "resources",
    params(("resource" = String, Path, description = "name or id of the follower")),
    security(("bearer" = [])),
    responses(
        (status = 202, description = "It is being made a database of its own; follow the operation.", body = Operation, headers(("location" = String, description = "where to follow the operation"))),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It follows nobody, or is on its way in or out.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call, resource: &str) -> Result<Response, Failure> {
    let bearer = call.authorise(app, TokenScope::Write).await?;
    let found = find_resource(app, resource).await?;
    let request = UnfollowRequest {
        resource_id: found.id,
        operation_id: OperationId::new(),
        token_id: bearer.id,
        request_id: call.request_id,
        now: app.clock.now(),
    };
    let failed = DbError::during("request the end of following");
    let mut transaction = app.pool.begin().await.map_err(failed)?;
    let operation = request_unfollow(&mut transaction, &request).await?;
    transaction.commit().await.map_err(failed)?;
    let job = Member::of_job(JobKind::CatchUp, found.id.as_uuid());
    app.wakes.wake(job);
    Ok(answer::accepted(&Operation::from(operation)))
}

impl From<UnfollowError> for Failure {
    fn from(error: UnfollowError) -> Self {
        match error {
            UnfollowError::FollowsNobody => Self::new(
                ProblemCode::Following,
                "it does not follow another database: it is one of its own already",
            ),
            UnfollowError::NotReady => Self::new(
                ProblemCode::NotReady,
                "it is still being made, or on its way out; GET /v1/resources/{resource} shows its state",
            ),
            UnfollowError::Db(error) => error.into(),
        }
    }
}

//! `POST /v1/resources/{resource}/credentials/rotate`.

use std::sync::Arc;

use shared::db::DbError;
use shared::db::fleet::Credential;
use shared::db::resources::rotate::{RotationError, RotationRequest, request_rotation};
use shared::db::resources::{password_context, verifier_context};
use shared::domain::TokenScope;
use shared::http_api::{Operation, Problem, ProblemCode};
use shared::ids::{OperationId, ResourceId};
use shared::queue::Member;
use shared::secret::Secret;
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::endpoints::find_resource;
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/resources/{resource}/credentials/rotate";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "resources" / String / "credentials" / "rotate")
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

/// Gives the owner of a database another password. The URL has it at once; the former one is good until the operation has succeeded, and sessions that are open stay open. Sent again while that is under way, it gives the same operation.
#[utoipa::path(
    post,
    path = "/v1/resources/{resource}/credentials/rotate",
    operation_id = "rotate_credentials",
    tag = "resources",
    params(("resource" = String, Path, description = "name or id of the resource")),
    security(("bearer" = [])),
    responses(
        (status = 202, description = "The new password is on its way to servers and gateways; follow the operation.", body = Operation, headers(("location" = String, description = "where to follow the operation"))),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has the password of another resource, or is on its way in or out.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call, resource: &str) -> Result<Response, Failure> {
    let bearer = call.authorise(app, TokenScope::Write).await?;
    let found = find_resource(app, resource).await?;
    let request = RotationRequest {
        resource_id: found.id,
        operation_id: OperationId::new(),
        token_id: bearer.id,
        request_id: call.request_id,
        now: app.clock.now(),
    };
    let password = Secret::random();
    let verifier = Secret::new(password.scram_verifier());
    let seal = |id: ResourceId| Credential {
        password: app.vault.seal(&password_context(id), &password),
        verifier: app.vault.seal(&verifier_context(id), &verifier),
    };
    let failed = DbError::during("request another password");
    let mut transaction = app.pool.begin().await.map_err(failed)?;
    let rotation = request_rotation(&mut transaction, &request, seal).await?;
    transaction.commit().await.map_err(failed)?;
    for server in rotation.servers {
        app.wakes.wake(Member::of_server(server));
    }
    Ok(answer::accepted(&Operation::from(rotation.operation)))
}

impl From<RotationError> for Failure {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Follows(original) => Self::new(
                ProblemCode::Following,
                format!("it follows {original} and has its password: rotate that of {original}"),
            ),
            RotationError::SharesOwner(others) => Self::new(
                ProblemCode::Following,
                format!(
                    "it has the owner of {} since one followed the other, and a password is that of an owner; fork it, and destroy the one that is not needed",
                    others.join(", ")
                ),
            ),
            RotationError::NotReady => Self::new(
                ProblemCode::NotReady,
                "it is still being made, or on its way out; GET /v1/resources/{resource} shows its state",
            ),
            RotationError::Db(error) => error.into(),
        }
    }
}

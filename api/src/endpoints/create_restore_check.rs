//! `POST /v1/resources/{resource}/restore-checks`.

use std::sync::Arc;

use shared::db::archive::{NewRestoreCheck, RestoreCheckError, request_restore_check};
use shared::db::idempotency::Key;
use shared::domain::{JobKind, TokenScope};
use shared::http_api::{IDEMPOTENCY_KEY_HEADER, Operation, Problem, ProblemCode};
use shared::ids::{OperationId, ProofId};
use shared::queue::Member;
use shared::secret::Secret;
use warp::Filter as _;
use warp::reply::Response;

use super::copies::refuse_follower;
use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::endpoints::find_resource;
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/resources/{resource}/restore-checks";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "resources" / String / "restore-checks")
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

/// Asks for a proof that it can be restored: everything that is in the archive is restored on a server of its own, checked, and removed. Sent again while one is under way, or with the same `Idempotency-Key`, it gives the same operation. Of a server that resources share, all is proven.
#[utoipa::path(
    post,
    path = "/v1/resources/{resource}/restore-checks",
    operation_id = "create_restore_check",
    tag = "resources",
    params(
        ("resource" = String, Path, description = "name or id of the resource"),
        ("idempotency-key" = Option<String>, Header, description = "any text of 1 to 255 characters; makes the request happen once"),
    ),
    security(("bearer" = [])),
    responses(
        (status = 202, description = "It is being proven; follow the operation, which fails with what is wrong, and its progress in the protection of the resource.", body = Operation, headers(("location" = String, description = "where to follow the operation"))),
        (status = 400, description = "The key cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is no backup of it to begin from.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The key was used for another request.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call, resource: &str) -> Result<Response, Failure> {
    let bearer = call.authorise(app, TokenScope::Write).await?;
    let resource = find_resource(app, resource).await?;
    refuse_follower(app, &resource).await?;
    let request_hash = Secret::new(format!("POST {PATH} {}", resource.id)).sha256();
    let new = NewRestoreCheck {
        resource: resource.id,
        operation: OperationId::new(),
        proof: ProofId::new(),
        token_id: bearer.id,
        key: call
            .header(IDEMPOTENCY_KEY_HEADER)?
            .map(|key| Key { key, request_hash }),
        request_id: call.request_id,
        now: app.clock.now(),
    };
    let asked = request_restore_check(&app.pool, &new).await?;
    if let Some(timeline) = asked.timeline {
        let job = Member::of_job(JobKind::Verify, timeline.as_uuid());
        app.wakes.wake(job);
    }
    Ok(answer::accepted(&Operation::from(asked.operation)))
}

impl From<RestoreCheckError> for Failure {
    fn from(error: RestoreCheckError) -> Self {
        match error {
            RestoreCheckError::NoBackup => Self::new(
                ProblemCode::NotReady,
                "there is no backup of it to begin from: it is new, or on its way out, or no worker \
                 has an archive; GET /v1/resources/{resource} shows its protection",
            ),
            RestoreCheckError::KeyReused => Self::new(
                ProblemCode::KeyReused,
                "send a new key with a new request, and the same request with the same key",
            ),
            RestoreCheckError::Db(error) => error.into(),
        }
    }
}

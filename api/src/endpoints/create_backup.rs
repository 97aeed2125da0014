//! `POST /v1/resources/{resource}/backups`.

use std::sync::Arc;

use shared::db::archive::{CaptureError, NewCapture, request_capture};
use shared::db::idempotency::Key;
use shared::domain::{JobKind, TokenScope};
use shared::http_api::{IDEMPOTENCY_KEY_HEADER, Operation, Problem, ProblemCode};
use shared::ids::OperationId;
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

const PATH: &str = "/v1/resources/{resource}/backups";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "resources" / String / "backups")
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

/// Asks for a base backup now. Sent again while it is under way, or with the same `Idempotency-Key`, it gives the same operation.
#[utoipa::path(
    post,
    path = "/v1/resources/{resource}/backups",
    operation_id = "create_backup",
    tag = "resources",
    params(
        ("resource" = String, Path, description = "name or id of the resource"),
        ("idempotency-key" = Option<String>, Header, description = "any text of 1 to 255 characters; makes the request happen once"),
    ),
    security(("bearer" = [])),
    responses(
        (status = 202, description = "The backup is being made; follow the operation, and its progress in the list of backups.", body = Operation, headers(("location" = String, description = "where to follow the operation"))),
        (status = 400, description = "The key cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Nothing of it is in the archive, so that a backup restores nothing.", body = Problem, content_type = "application/problem+json"),
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
    let new = NewCapture {
        resource: resource.id,
        operation: OperationId::new(),
        token_id: bearer.id,
        key: call
            .header(IDEMPOTENCY_KEY_HEADER)?
            .map(|key| Key { key, request_hash }),
        request_id: call.request_id,
        now: app.clock.now(),
    };
    let captured = request_capture(&app.pool, &new).await?;
    if let Some(timeline) = captured.timeline {
        let job = Member::of_job(JobKind::BaseBackup, timeline.as_uuid());
        app.wakes.wake(job);
    }
    Ok(answer::accepted(&Operation::from(captured.operation)))
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::NotProtected => Self::new(
                ProblemCode::NotReady,
                "nothing of it is in the archive: it is new, or on its way out, or no worker has an \
                 archive; GET /v1/resources/{resource} shows its protection",
            ),
            CaptureError::KeyReused => Self::new(
                ProblemCode::KeyReused,
                "send a new key with a new request, and the same request with the same key",
            ),
            CaptureError::Db(error) => error.into(),
        }
    }
}

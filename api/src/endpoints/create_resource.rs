//! `POST /v1/resources`.

use std::sync::Arc;
use std::time::Duration;

use shared::db::idempotency::Key;
use shared::db::resources::create::{CreateError, NewResource};
use shared::domain::{InvalidName, ResourceName, ResourceState, TokenScope};
use shared::http_api::{CreateResource, IDEMPOTENCY_KEY_HEADER, Operation, Problem, ProblemCode};
use shared::ids::{OperationId, ResourceId};
use shared::machine::{self, Machine as _};
use shared::secret::Secret;
use warp::Filter as _;
use warp::reply::Response;

use super::copies::accept;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/resources";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "resources")
        .and(warp::post())
        .and(call(PATH))
        .then(move |mut call: Call| {
            let app = Arc::clone(&app);
            async move {
                let result = handle(&app, &mut call).await;
                call.answer(result)
            }
        })
        .boxed()
}

/// Asks for a new resource. Sent again with the same `Idempotency-Key`, it gives the same answer and creates nothing.
#[utoipa::path(
    post,
    path = "/v1/resources",
    operation_id = "create_resource",
    tag = "resources",
    params(
        ("idempotency-key" = Option<String>, Header, description = "any text of 1 to 255 characters; makes the request happen once"),
    ),
    request_body = CreateResource,
    security(("bearer" = [])),
    responses(
        (status = 202, description = "The resource is being made; follow the operation.", body = Operation, headers(("location" = String, description = "where to follow the operation"))),
        (status = 400, description = "The body cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The name is taken.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The name is not valid, the plan is not offered, or the key was used for another request.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &mut Call) -> Result<Response, Failure> {
    let bearer = call.authorise(app, TokenScope::Write).await?;
    let wanted: CreateResource = call.json()?;
    let name = valid_name(&wanted.name)?;
    let request_hash = hash(&wanted);
    let now = app.clock.now();
    let new = NewResource {
        id: ResourceId::new(),
        operation_id: OperationId::new(),
        name: &name,
        plan: &wanted.plan,
        fork: None,
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

/// How long the state creating may last before it raises an alert.
pub(super) fn creating_at_most() -> Duration {
    machine::resource::Resource::deadline(ResourceState::Creating)
        .expect("each waiting state has a deadline")
        .after
}

/// A name that can also be told from an id in a path.
pub(super) fn valid_name(text: &str) -> Result<ResourceName, Failure> {
    let refused = |detail| Failure::new(ProblemCode::InvalidName, detail);
    let name: ResourceName = text
        .parse()
        .map_err(|error: InvalidName| refused(error.to_string()))?;
    if text.parse::<ResourceId>().is_ok() {
        return Err(refused(format!(
            "{text:?} looks like an id; choose another name"
        )));
    }
    Ok(name)
}

/// What makes two requests with one key the same: their meaning, not their spelling.
fn hash(wanted: &CreateResource) -> [u8; 32] {
    let CreateResource { name, plan } = wanted;
    Secret::new(format!("POST {PATH} {name} {plan}")).sha256()
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::PlanNotOffered(plan) => Self::new(
                ProblemCode::UnknownPlan,
                format!("plan {plan:?} is not offered; GET /v1/plans lists those that are"),
            ),
            CreateError::NameTaken(name) => Self::new(
                ProblemCode::NameTaken,
                format!("a resource named {name} exists; choose another name or destroy it first"),
            ),
            CreateError::NothingToCopy => Self::new(
                ProblemCode::NotReady,
                "what shall be copied is on its way in or out; GET /v1/resources/{resource} shows its state",
            ),
            CreateError::TooManyFollowers => Self::new(
                ProblemCode::Following,
                format!("{error}; destroy one of them, or let it go on by itself, first"),
            ),
            CreateError::KeyReused => Self::new(
                ProblemCode::KeyReused,
                "send a new key with a new request, and the same request with the same key",
            ),
            CreateError::Db(error) => error.into(),
        }
    }
}

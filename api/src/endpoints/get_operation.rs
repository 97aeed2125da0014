//! `GET /v1/operations/{id}`.

use std::sync::Arc;

use shared::db::operations;
use shared::domain::TokenScope;
use shared::http_api::{Operation, Problem, ProblemCode};
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/operations/{id}";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "operations" / String)
        .and(warp::get())
        .and(call(PATH))
        .then(move |id: String, call: Call| {
            let app = Arc::clone(&app);
            async move {
                let result = handle(&app, &call, &id).await;
                call.answer(result)
            }
        })
        .boxed()
}

/// Shows an operation.
#[utoipa::path(
    get,
    path = "/v1/operations/{id}",
    operation_id = "get_operation",
    tag = "operations",
    params(("id" = String, Path, description = "id of the operation")),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The operation.", body = Operation),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such operation.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call, id: &str) -> Result<Response, Failure> {
    call.authorise(app, TokenScope::Read).await?;
    let operation = match id.parse() {
        Ok(id) => operations::get(&app.pool, id).await?,
        Err(_) => None,
    };
    let missing = || {
        let detail = "there is no operation with this id; list them with GET /v1/operations";
        Failure::new(ProblemCode::NotFound, detail)
    };
    Ok(answer::json(
        200,
        &Operation::from(operation.ok_or_else(missing)?),
    ))
}

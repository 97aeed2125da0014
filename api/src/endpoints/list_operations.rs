//! `GET /v1/operations`.

use std::sync::Arc;

use shared::db::operations;
use shared::domain::TokenScope;
use shared::http_api::{Operation, Page, Problem};
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::endpoints::find_resource;
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/operations";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "operations")
        .and(warp::get())
        .and(call(PATH))
        .then(move |call: Call| {
            let app = Arc::clone(&app);
            async move {
                let result = handle(&app, &call).await;
                call.answer(result)
            }
        })
        .boxed()
}

/// Lists operations, newest first.
#[utoipa::path(
    get,
    path = "/v1/operations",
    operation_id = "list_operations",
    tag = "operations",
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u16>, Query, description = "most rows, 1 to 1000; default 100"),
        ("resource" = Option<String>, Query, description = "name or id: only what is about this resource"),
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of the list.", body = Page<Operation>),
        (status = 400, description = "The query string or an id cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call) -> Result<Response, Failure> {
    call.authorise(app, TokenScope::Read).await?;
    let before = call.after(|text| text.parse().ok())?;
    let limit = call.limit()?;
    let resource = match &call.query()?.resource {
        Some(name_or_id) => Some(find_resource(app, name_or_id).await?.id),
        None => None,
    };
    let page = operations::list(&app.pool, resource, before, limit).await?;
    Ok(answer::page::<_, _, Operation>(page, |id| id.to_string()))
}

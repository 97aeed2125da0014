//! `GET /v1/plans`.

use std::sync::Arc;

use shared::db::plans;
use shared::domain::TokenScope;
use shared::http_api::{Page, Plan, Problem};
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/plans";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "plans")
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

/// Lists the plans. There are few of them, so all are on the first page.
#[utoipa::path(
    get,
    path = "/v1/plans",
    operation_id = "list_plans",
    tag = "plans",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "All plans, by name.", body = Page<Plan>),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call) -> Result<Response, Failure> {
    call.authorise(app, TokenScope::Read).await?;
    let data = plans::list(&app.pool)
        .await?
        .into_iter()
        .map(Plan::from)
        .collect();
    Ok(answer::json(200, &Page { data, next: None }))
}

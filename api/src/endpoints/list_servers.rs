//! `GET /v1/servers`.

use std::sync::Arc;

use shared::db::servers;
use shared::domain::TokenScope;
use shared::http_api::{Page, Problem, Server};
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/servers";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "servers")
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

/// Lists the living servers in order of age, for operators.
#[utoipa::path(
    get,
    path = "/v1/servers",
    operation_id = "list_servers",
    tag = "operators",
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u16>, Query, description = "most rows, 1 to 1000; default 100"),
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of the list.", body = Page<Server>),
        (status = 400, description = "The query string or an id cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call) -> Result<Response, Failure> {
    call.authorise(app, TokenScope::Admin).await?;
    let after = call.after(|text| text.parse().ok())?;
    let page = servers::list(&app.pool, after, call.limit()?).await?;
    Ok(answer::page::<_, _, Server>(page, |id| id.to_string()))
}

//! `GET /v1/tokens`.

use std::sync::Arc;

use shared::db::tokens;
use shared::domain::TokenScope;
use shared::http_api::{Page, Problem, Token};
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/tokens";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "tokens")
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

/// Lists the tokens in order of age, also expired and revoked ones.
#[utoipa::path(
    get,
    path = "/v1/tokens",
    operation_id = "list_tokens",
    tag = "tokens",
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u16>, Query, description = "most rows, 1 to 1000; default 100"),
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of the list.", body = Page<Token>),
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
    let page = tokens::list(&app.pool, after, call.limit()?).await?;
    Ok(answer::page::<_, _, Token>(page, |id| id.to_string()))
}

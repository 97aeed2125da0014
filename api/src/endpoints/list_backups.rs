//! `GET /v1/resources/{resource}/backups`.

use std::sync::Arc;

use shared::db::archive;
use shared::domain::TokenScope;
use shared::http_api::{Backup, Page, Problem};
use warp::Filter as _;
use warp::reply::Response;

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
        .and(warp::get())
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

/// Lists the base backups that a restore of a resource can begin from, newest first, and the one under way. They are of its whole server: on a shared one they hold the databases of others too.
#[utoipa::path(
    get,
    path = "/v1/resources/{resource}/backups",
    operation_id = "list_backups",
    tag = "resources",
    params(
        ("resource" = String, Path, description = "name or id of the resource"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u16>, Query, description = "most rows, 1 to 1000; default 100"),
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of the list.", body = Page<Backup>),
        (status = 400, description = "The query string or an id cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call, resource: &str) -> Result<Response, Failure> {
    call.authorise(app, TokenScope::Read).await?;
    let before = call.after(|text| text.parse().ok())?;
    let limit = call.limit()?;
    let resource = find_resource(app, resource).await?;
    let page = archive::backups_of(&app.pool, resource.id, before, limit).await?;
    Ok(answer::page::<_, _, Backup>(page, |id| id.to_string()))
}

//! `GET /v1/resources/{resource}/url`.

use std::sync::Arc;

use shared::db::resources::{self, password_context};
use shared::domain::{DatabaseUrl, TokenScope};
use shared::http_api::{Problem, ProblemCode, ResourceUrl};
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::endpoints::find_resource;
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/resources/{resource}/url";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "resources" / String / "url")
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

/// Shows the URL of a resource, with its password.
#[utoipa::path(
    get,
    path = "/v1/resources/{resource}/url",
    operation_id = "get_resource_url",
    tag = "resources",
    params(("resource" = String, Path, description = "name or id of the resource")),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The URL.", body = ResourceUrl),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has no URL yet, or no more.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call, resource: &str) -> Result<Response, Failure> {
    call.authorise(app, TokenScope::Write).await?;
    let resource = find_resource(app, resource).await?;
    let Some(stored) = resources::credentials(&app.pool, resource.id).await? else {
        let (name, state) = (resource.name, resource.state);
        let detail = format!("{name} is {state} and has no URL; wait until it is available");
        return Err(Failure::new(ProblemCode::NotReady, detail));
    };
    let context = password_context(resource.id);
    let password = app
        .vault
        .open(&context, &stored.password)
        .map_err(Failure::internal)?;
    let url = |port: i32| {
        let url = DatabaseUrl {
            role: &stored.role_name,
            password: &password,
            host: &stored.endpoint_host,
            port: u16::try_from(port).map_err(Failure::internal)?,
            database: &stored.endpoint_database,
        };
        Ok::<_, Failure>(url.to_secret())
    };
    Ok(answer::json(
        200,
        &ResourceUrl {
            url: url(stored.endpoint_port)?,
            pooled_url: stored.endpoint_pooled_port.map(url).transpose()?,
        },
    ))
}

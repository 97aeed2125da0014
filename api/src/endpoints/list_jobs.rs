//! `GET /v1/jobs`.

use std::sync::Arc;

use shared::db::jobs::{self, JobKey};
use shared::domain::{JobState, TokenScope};
use shared::http_api::{Job, Page, Problem, ProblemCode};
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/jobs";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "jobs")
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

/// Lists the jobs that have not reached their goal, by kind and age, for operators.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    operation_id = "list_jobs",
    tag = "operators",
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u16>, Query, description = "most rows, 1 to 1000; default 100"),
        ("state" = Option<JobState>, Query, description = "only jobs in this state"),
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of the list.", body = Page<Job>),
        (status = 400, description = "The query string or an id cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call) -> Result<Response, Failure> {
    call.authorise(app, TokenScope::Admin).await?;
    let after = call.after(read_key)?;
    let limit = call.limit()?;
    let state = match call.query()?.state.as_deref().map(str::parse::<JobState>) {
        None => None,
        Some(Ok(state)) => Some(state),
        Some(Err(error)) => {
            return Err(Failure::new(ProblemCode::InvalidRequest, error.to_string()));
        }
    };
    let page = jobs::list(&app.pool, state, after, limit).await?;
    Ok(answer::page::<_, _, Job>(page, |key| {
        format!("{}:{}", key.kind, key.subject_id)
    }))
}

fn read_key(text: &str) -> Option<JobKey> {
    let (kind, subject_id) = text.split_once(':')?;
    Some(JobKey {
        kind: kind.parse().ok()?,
        subject_id: subject_id.parse().ok()?,
    })
}

//! `POST /v1/jobs/{kind}/{id}/retry`.

use std::sync::Arc;

use shared::db::DbError;
use shared::db::audit::{self, Entry};
use shared::db::jobs::{self, JobKey};
use shared::domain::{JobKind, TokenScope};
use shared::http_api::{Job, Problem, ProblemCode};
use shared::queue::Member;
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/jobs/{kind}/{id}/retry";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "jobs" / String / String / "retry")
        .and(warp::post())
        .and(call(PATH))
        .then(move |kind: String, id: String, call: Call| {
            let app = Arc::clone(&app);
            async move {
                let result = handle(&app, &call, &kind, &id).await;
                call.answer(result)
            }
        })
        .boxed()
}

/// Lets a job that gave up be tried anew.
#[utoipa::path(
    post,
    path = "/v1/jobs/{kind}/{id}/retry",
    operation_id = "retry_job",
    tag = "operators",
    params(
        ("kind" = JobKind, Path, description = "kind of the job"),
        ("id" = Uuid, Path, description = "id of its subject"),
    ),
    security(("bearer" = [])),
    responses(
        (status = 202, description = "The job is tried again.", body = Job),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such job; perhaps it reached its goal.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call, kind: &str, id: &str) -> Result<Response, Failure> {
    let bearer = call.authorise(app, TokenScope::Admin).await?;
    let missing = || {
        let detail = "there is no such job; list them with GET /v1/jobs";
        Failure::new(ProblemCode::NotFound, detail)
    };
    let (Ok(kind), Ok(subject_id)) = (kind.parse(), id.parse()) else {
        return Err(missing());
    };
    let key = JobKey { kind, subject_id };
    let entry = Entry {
        token_id: bearer.id,
        action: "retry",
        subject: &format!("job {kind} {subject_id}"),
        request_id: call.request_id,
        at: app.clock.now(),
    };
    let failed = DbError::during("retry a job");
    let mut transaction = app.pool.begin().await.map_err(failed)?;
    if !jobs::retry(&mut *transaction, key, entry.at).await? {
        return Err(missing());
    }
    audit::record(&mut *transaction, &entry).await?;
    let job = jobs::get(&mut *transaction, key)
        .await?
        .ok_or_else(missing)?;
    transaction.commit().await.map_err(failed)?;
    app.wakes.wake(Member::of_job(kind, subject_id));
    Ok(answer::json(202, &Job::from(job)))
}

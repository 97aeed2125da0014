//! `GET /readyz`.

use std::sync::Arc;
use std::time::Duration;

use shared::db;
use shared::http_api::{Dependency, Readiness};
use shared::queue::{Queue, Ring};
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/readyz";

/// Longest time an answer may take to count as one.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("readyz")
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

/// Tells whether requests can be carried out.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "process",
    responses(
        (status = 200, description = "Ready. Redis may be away: new work then starts at the next audit.", body = Readiness),
        (status = 503, description = "The control database does not answer.", body = Readiness)
    )
)]
async fn handle(app: &App, _call: &Call) -> Result<Response, Failure> {
    let (database, redis) = tokio::join!(database_answers(app), redis_answers(&app.queue));
    let dependency = |up| if up { Dependency::Up } else { Dependency::Down };
    let readiness = Readiness {
        ready: database,
        control_database: dependency(database),
        redis: dependency(redis),
    };
    Ok(answer::json(if database { 200 } else { 503 }, &readiness))
}

async fn database_answers(app: &App) -> bool {
    let asked = tokio::time::timeout(PATIENCE, db::plans::get(&app.pool, "hobby")).await;
    matches!(asked, Ok(Ok(_)))
}

async fn redis_answers(queue: &Queue) -> bool {
    let Some(shard) = queue.shards(Ring::Jobs).next() else {
        return false;
    };
    let asked = tokio::time::timeout(PATIENCE, queue.stats(shard)).await;
    matches!(asked, Ok(Ok(_)))
}

//! `GET /metrics`.

use std::sync::Arc;

use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::routes::Routes;

const PATH: &str = "/metrics";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("metrics")
        .and(warp::get())
        .and(call(PATH))
        .map(move |call: Call| call.answer(Ok(handle(&app))))
        .boxed()
}

/// Shows the metrics of this process in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "process",
    responses((status = 200, description = "Metrics.", body = String, content_type = "text/plain"))
)]
fn handle(app: &App) -> Response {
    answer::text(
        "text/plain; version=0.0.4; charset=utf-8",
        app.metrics.render(),
    )
}

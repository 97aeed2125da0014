//! `GET /healthz`.

use warp::Filter as _;

use crate::answer;
use crate::call::{Call, call};
use crate::routes::Routes;

const PATH: &str = "/healthz";

pub(crate) fn route() -> Routes {
    warp::path!("healthz")
        .and(warp::get())
        .and(call(PATH))
        .then(async |call: Call| call.answer(Ok(handle())))
        .boxed()
}

/// Tells that this process answers at all.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "process",
    responses((status = 200, description = "It answers.", body = String, content_type = "text/plain"))
)]
fn handle() -> warp::reply::Response {
    answer::text("text/plain; charset=utf-8", "ok\n".to_owned())
}

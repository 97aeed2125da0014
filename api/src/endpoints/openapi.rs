//! `GET /openapi.json`.

use warp::Filter as _;

use crate::call::{Call, call};
use crate::routes::Routes;
use crate::{answer, openapi};

const PATH: &str = "/openapi.json";

pub(crate) fn route() -> Routes {
    let document = openapi::document();
    warp::path!("openapi.json")
        .and(warp::get())
        .and(call(PATH))
        .map(move |call: Call| call.answer(Ok(answer::json(200, &document))))
        .boxed()
}

/// Shows this description of the API.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "process",
    responses((status = 200, description = "An OpenAPI document.", body = serde_json::Value))
)]
#[expect(
    dead_code,
    reason = "carries the description; the route needs no handler"
)]
fn handle() {}

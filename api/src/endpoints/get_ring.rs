//! `GET /v1/ring`.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use shared::domain::TokenScope;
use shared::http_api::{Page, Problem, RingStats};
use shared::queue::{Queue, QueueError, Ring, ShardStats};
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/ring";

/// Longest time Redis may take to count.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "ring")
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

/// Counts what is in the queue, for operators.
#[utoipa::path(
    get,
    path = "/v1/ring",
    operation_id = "get_ring",
    tag = "operators",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "One row for each ring, the most urgent first.", body = Page<RingStats>),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Redis or the control database does not answer.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call) -> Result<Response, Failure> {
    call.authorise(app, TokenScope::Admin).await?;
    let rings = try_join_all(Ring::ALL.map(|ring| stats(&app.queue, ring)));
    let data = match tokio::time::timeout(PATIENCE, rings).await {
        Ok(rings) => rings.map_err(|error| Failure::unavailable("Redis", error))?,
        Err(slow) => return Err(Failure::unavailable("Redis", slow)),
    };
    Ok(answer::json(200, &Page { data, next: None }))
}

async fn stats(queue: &Queue, ring: Ring) -> Result<RingStats, QueueError> {
    let shards: Vec<ShardStats> =
        try_join_all(queue.shards(ring).map(|shard| queue.stats(shard))).await?;
    let sum = |count: fn(&ShardStats) -> u64| shards.iter().map(count).sum();
    let number = |shards: usize| u16::try_from(shards).unwrap_or(u16::MAX);
    let oldest = shards
        .iter()
        .map(|shard| shard.oldest_due_age)
        .max()
        .unwrap_or_default();
    Ok(RingStats {
        ring: ring.as_str().to_owned(),
        size: sum(|shard| shard.size),
        due: sum(|shard| shard.due),
        leased: sum(|shard| shard.leased),
        expired: sum(|shard| shard.expired),
        oldest_due_age_ms: u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX),
        shards: number(shards.len()),
        shards_missing: number(shards.iter().filter(|shard| shard.epoch.is_none()).count()),
    })
}

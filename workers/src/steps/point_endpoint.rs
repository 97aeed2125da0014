//! Points the URL of a resource at its participant.

use shared::db::fleet::{ResourceRow, allocate_route, record_route};
use shared::domain::Traffic;
use shared::ports::Route;

use super::Performed;
use crate::context::Context;
use crate::ring::TurnError;

/// Allocates a generation, points, and stores the address once the endpoint acknowledged it. A
/// crash in between leaves a gap in the numbers and nothing else. Nothing happens while the
/// participant has no address.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    let Some(upstream) = row.base.as_ref().and_then(|base| base.postgres.clone()) else {
        return Ok(Performed::Overtaken);
    };
    let route = Route {
        resource: row.id,
        generation: row.endpoint_generation + 1,
        upstream,
        database: row.database_name.clone(),
        traffic: Traffic::Open,
    };
    let version = (row.id, row.version);
    if allocate_route(&context.pool, version, route.generation)
        .await?
        .is_overtaken()
    {
        return Ok(Performed::Overtaken);
    }
    context.borders.within().await;
    let place = context.endpoint.point(&route).await?;
    context.borders.within().await;
    let version = (row.id, row.version + 1);
    Ok(
        record_route(&context.pool, version, (&route, &place), context.now())
            .await?
            .into(),
    )
}

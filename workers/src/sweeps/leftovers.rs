//! Finds machines that the provider still has although their server is terminated: a worker that
//! was stalled may have had one made again. Its own turn then destroys it.

use std::collections::HashMap;

use shared::db::fleet::load_servers;
use shared::domain::ServerState;
use shared::queue::Member;

use crate::context::Context;
use crate::ring::TurnError;

/// Wakes the servers of such machines. A machine without any row is not ours to touch: it is
/// reported.
pub async fn sweep(context: Context) -> Result<(), TurnError> {
    let machines = context.provider.list().await?;
    let rows = load_servers(&context.pool, &machines).await?;
    let states: HashMap<_, _> = rows.iter().map(|row| (row.id, row.state)).collect();
    for server in machines {
        match states.get(&server) {
            Some(ServerState::Terminated) => {
                context.wake(Member::of_server(server)).await;
            }
            Some(_) => {}
            None => tracing::warn!(server.id = %server, "the provider has a machine without a row"),
        }
    }
    Ok(())
}

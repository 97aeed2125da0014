//! Finds machines that the provider still has although their server is terminated: a worker that
//! was stalled may have had one made again. Its own turn then destroys it.

use shared::db::fleet::load_server;
use shared::domain::ServerState;
use shared::queue::Member;

use crate::context::Context;
use crate::ring::TurnError;

/// Wakes the servers of such machines. A machine without any row is not ours to touch: it is
/// reported.
pub async fn sweep(context: Context) -> Result<(), TurnError> {
    for server in context.provider.list().await? {
        match load_server(&context.pool, server).await? {
            Some(row) if row.state == ServerState::Terminated => {
                context.wake(Member::of_server(server)).await;
            }
            Some(_) => {}
            None => tracing::warn!(server.id = %server, "the provider has a machine without a row"),
        }
    }
    Ok(())
}

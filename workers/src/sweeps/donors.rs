//! Sends hidden instances home that were to give a database to a copy which is not made any more.

use shared::db::fleet::dismiss_donors;
use shared::queue::Member;

use crate::context::Context;
use crate::ring::TurnError;

/// Asks for the end of those that nobody waits for.
pub(super) async fn sweep(context: Context) -> Result<(), TurnError> {
    for server in dismiss_donors(&context.pool, context.now()).await? {
        tracing::info!(server.id = %server, "a donor is not needed any more");
        context.wake(Member::of_server(server)).await;
    }
    Ok(())
}

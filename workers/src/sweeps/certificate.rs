//! Renews this worker's own certificate.

use crate::context::Context;
use crate::ring::TurnError;

/// Issues a new certificate and shows it to agents from now on.
pub(super) fn sweep(context: &Context) -> Result<(), TurnError> {
    let identity = context
        .authority
        .issue_for_worker(context.worker, context.clock.as_ref())?;
    context.agents.client().replace_identity(&identity)?;
    Ok(())
}

//! Finds a place for a resource: a shared server with room, or a new one.

use shared::db::DbError;
use shared::db::fleet::{NewPlacement, ResourceRow, place, secrets_of_original};
use shared::ids::{ParticipantId, RequestId, ServerId, TimelineId};
use shared::machine::Machine as _;
use shared::machine::participant::Participant;
use shared::queue::Member;
use shared::secret::Secret;

use super::{Performed, contexts};
use crate::context::Context;
use crate::ring::TurnError;
use crate::turns::deadline_at;

/// Attaches the resource and wakes the server. All names of the new machine derive from ids that
/// are stored here, before anything is asked of a provider.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    let prober = if row.follows {
        let Some(original) = secrets_of_original(&context.pool, row.id).await? else {
            return Ok(Performed::Overtaken);
        };
        // What it replays has our role with the password that it has there.
        let (vault, id) = (&context.vault, original.participant);
        let password = vault.open(&contexts::prober_password(id), &original.prober_password)?;
        let verifier = vault.open(&contexts::prober_verifier(id), &original.prober_verifier)?;
        let leader = original.server;
        (password, verifier, Some(leader))
    } else {
        let password = Secret::random();
        let verifier = Secret::new(password.scram_verifier());
        (password, verifier, None)
    };
    let new = new_instance(context, row.request_id, (&prober.0, &prober.1));
    let failed = DbError::during("place a resource");
    let mut transaction = context.pool.begin().await.map_err(failed)?;
    let placed = place(&mut transaction, (row.id, row.version), &new).await?;
    if placed.recorded.is_overtaken() {
        return Ok(Performed::Overtaken);
    }
    transaction.commit().await.map_err(failed)?;
    context.wake(Member::of_server(placed.server)).await;
    if let Some(leader) = prober.2 {
        // It lets its followers in.
        context.wake(Member::of_server(leader)).await;
    }
    Ok(Performed::Done)
}

/// A new server with a new participant on it, whose prober has this password.
pub(crate) fn new_instance(
    context: &Context,
    request_id: RequestId,
    (password, verifier): (&Secret, &Secret),
) -> NewPlacement {
    let participant = ParticipantId::new();
    let at = context.now();
    NewPlacement {
        provider: context.provider_name.clone(),
        server: ServerId::new(),
        participant,
        timeline: TimelineId::new(),
        postgres_major: context.postgres_major,
        prober_password: context
            .vault
            .seal(&contexts::prober_password(participant), password),
        prober_verifier: context
            .vault
            .seal(&contexts::prober_verifier(participant), verifier),
        request_id,
        at,
        deadline_at: deadline_at(at, Participant::deadline(Participant::INITIAL)).unwrap_or(at),
    }
}

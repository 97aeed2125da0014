//! Finds a place for a resource: a shared server with room, or a new one.

use shared::db::DbError;
use shared::db::archive::{NewRestore, hold_restore};
use shared::db::fleet::{
    FollowerRow, NewPlacement, ResourceRow, place, place_replacement, secrets_of_original,
};
use shared::ids::{ParticipantId, RequestId, ResourceId, ServerId, TimelineId};
use shared::machine::Machine as _;
use shared::machine::participant::Participant;
use shared::queue::Member;
use shared::secret::Secret;

use super::{Performed, contexts};
use crate::context::Context;
use crate::ring::TurnError;
use crate::turns::deadline_at;

/// Password of our role on a participant that is to be made.
struct Prober {
    password: Secret,
    verifier: Secret,
    /// Server of the leader whose it is; null if it is a new one.
    leader: Option<ServerId>,
}

impl Prober {
    fn new() -> Self {
        let password = Secret::random();
        let verifier = Secret::new(password.scram_verifier());
        Self {
            password,
            verifier,
            leader: None,
        }
    }

    /// A new server with a new participant on it that has it.
    fn instance(&self, context: &Context, request_id: RequestId) -> NewPlacement {
        new_instance(context, request_id, (&self.password, &self.verifier))
    }

    /// That of the leader that resource `id` follows: what is replayed has it. Null while there is no
    /// leader.
    async fn of_leader(context: &Context, id: ResourceId) -> Result<Option<Self>, TurnError> {
        let Some(original) = secrets_of_original(&context.pool, id).await? else {
            return Ok(None);
        };
        let (vault, leader) = (&context.vault, original.participant);
        let password = contexts::prober_password(leader);
        let verifier = contexts::prober_verifier(leader);
        Ok(Some(Self {
            password: vault.open(&password, &original.prober_password)?,
            verifier: vault.open(&verifier, &original.prober_verifier)?,
            leader: Some(original.server),
        }))
    }
}

/// Attaches the resource and wakes the server. All names of the new machine derive from ids that
/// are stored here, before anything is asked of a provider.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    let prober = if row.follows {
        let Some(prober) = Prober::of_leader(context, row.id).await? else {
            return Ok(Performed::Overtaken);
        };
        prober
    } else {
        Prober::new()
    };
    let new = prober.instance(context, row.request_id);
    let failed = DbError::during("place a resource");
    let mut transaction = context.pool.begin().await.map_err(failed)?;
    let placed = place(&mut transaction, (row.id, row.version), &new).await?;
    if placed.recorded.is_overtaken() {
        return Ok(Performed::Overtaken);
    }
    transaction.commit().await.map_err(failed)?;
    wake(context, placed.server, &prober).await;
    Ok(Performed::Done)
}

/// Makes the participant that shall take the place of a follower, restored from `restore`, together
/// with the hold on everything that it needs.
pub(crate) async fn replace(
    context: &Context,
    row: &FollowerRow,
    restore: &NewRestore<'_>,
) -> Result<Performed, TurnError> {
    let Some(prober) = Prober::of_leader(context, row.resource).await? else {
        return Ok(Performed::Overtaken);
    };
    let new = prober.instance(context, row.request_id);
    let failed = DbError::during("replace a follower");
    let mut transaction = context.pool.begin().await.map_err(failed)?;
    if hold_restore(&mut transaction, restore)
        .await?
        .is_overtaken()
        || place_replacement(&mut transaction, row, &new, restore.id)
            .await?
            .is_overtaken()
    {
        return Ok(Performed::Overtaken);
    }
    transaction.commit().await.map_err(failed)?;
    wake(context, new.server, &prober).await;
    Ok(Performed::Done)
}

/// Wakes a new server, and that of the leader, which lets its followers in.
async fn wake(context: &Context, server: ServerId, prober: &Prober) {
    for server in [Some(server), prober.leader].into_iter().flatten() {
        context.wake(Member::of_server(server)).await;
    }
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

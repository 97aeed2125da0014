//! The beginning of a proof: what is restored, and where.

use shared::archive::plan::Plan;
use shared::db::DbError;
use shared::db::archive::{Begun, Lineage, NewRestore, Trial, begin_proof};
use shared::ids::RestoreId;
use shared::queue::Member;
use shared::secret::Secret;

use super::{Came, OTHERS_FIRST, Proving};
use crate::ring::TurnError;
use crate::steps;

impl Proving<'_> {
    /// Plans a restore of everything that is in the archive, and a server for it.
    pub(super) async fn begin(&self) -> Result<Came, TurnError> {
        let context = self.context;
        // How its writers are kept apart tells that the archive answers.
        if self.archive.store.capabilities().is_none() {
            return Ok(Came::Along(OTHERS_FIRST));
        }
        match steps::plan_what_is_archived(context, self.row.timeline).await? {
            None => self.fail("nothing of it is in the archive").await,
            Some((lineage, Ok(plan))) => self.place(&lineage, plan).await,
            Some((_, Err(refused))) => self.fail(&refused.to_string()).await,
        }
    }

    async fn place(&self, lineage: &Lineage, plan: Plan) -> Result<Came, TurnError> {
        let (context, request_id) = (self.context, self.proof.request_id);
        // Nothing is renamed: nobody gets in but ourselves.
        let source = lineage.source(plan, self.original.postgres_major, Vec::new());
        let restore = NewRestore {
            id: RestoreId::new(),
            source: &source,
            segment_bytes: lineage.segment_bytes,
            request_id,
            now: context.now(),
        };
        let password = Secret::random();
        let verifier = Secret::new(password.scram_verifier());
        let place = steps::new_instance(context, request_id, (&password, &verifier));
        let trial = Trial {
            proof: self.proof.id,
            plan: &self.original.plan,
            restore: &restore,
            place: &place,
            at_once: context.proofs_at_once,
        };
        if !self.turn.still_mine() {
            return Ok(Came::Overtaken);
        }
        let failed = DbError::during("begin a proof");
        let mut transaction = context.pool.begin().await.map_err(failed)?;
        match begin_proof(&mut transaction, &trial).await? {
            Begun::Yes => transaction.commit().await.map_err(failed)?,
            Begun::Full => return Ok(Came::Along(OTHERS_FIRST)),
            Begun::Overtaken => return Ok(Came::Overtaken),
        }
        tracing::info!(
            at = "start", timeline.id = %self.row.timeline, proof.id = %self.proof.id,
            restore.id = %restore.id, backup.id = %source.backup, server.id = %place.server,
            complete_until = %source.complete_until, %request_id, "proof",
        );
        context.wake(Member::of_server(place.server)).await;
        Ok(self.later())
    }
}

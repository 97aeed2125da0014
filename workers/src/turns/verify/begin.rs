//! The beginning of a proof: what is restored, and where.

use shared::agent_api::restore::RestoreSource;
use shared::archive::plan::{Plan, Target};
use shared::db::DbError;
use shared::db::archive::{Begun, Lineage, NewRestore, Trial, begin_proof, lineage};
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
        let Some(mut lineage) = lineage(&context.pool, self.row.timeline).await? else {
            return self.fail("nothing of it is in the archive").await;
        };
        let (_, complete_until) = steps::archived(&lineage);
        let target = (Target::End, complete_until);
        let planned = steps::plan_with_what_is_there(context, &mut lineage, target).await?;
        match planned {
            Ok(plan) => self.place(&lineage, plan).await,
            Err(refused) => self.fail(&refused.to_string()).await,
        }
    }

    async fn place(&self, lineage: &Lineage, plan: Plan) -> Result<Came, TurnError> {
        let (context, request_id) = (self.context, self.proof.request_id);
        let source = self.source(lineage, plan);
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

    /// Nothing is renamed: nobody gets in but ourselves.
    fn source(&self, lineage: &Lineage, plan: Plan) -> RestoreSource {
        RestoreSource {
            postgres_major: self.original.postgres_major,
            system_identifier: lineage.system_identifier,
            timeline: plan.backup.timeline,
            backup: plan.backup.backup,
            path: plan.path,
            target: plan.target,
            complete_until: plan.complete_until,
            renames: Vec::new(),
        }
    }
}

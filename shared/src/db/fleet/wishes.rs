//! What resources need of the participant they are attached to.

use sqlx::PgExecutor;

use crate::db::DbError;
use crate::domain::ResourceState;
use crate::ids::{ParticipantId, ResourceId};

/// What a participant's spec must say about one attached resource.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what is independent of each other"
)]
pub struct DatabaseWish {
    /// The participant.
    pub participant: ParticipantId,
    /// The resource.
    pub resource: ResourceId,
    /// Its database.
    pub database_name: String,
    /// Owner of the database.
    pub role_name: String,
    /// SCRAM verifier of the owner, encrypted; null before the secret was made.
    pub verifier: Option<Vec<u8>>,
    /// Most connections of the owner.
    pub connection_limit: i32,
    /// Whether it shall be there or be gone.
    pub wanted: bool,
    /// Whether the database shall be there with its owner: it is not made where it will be brought.
    pub has_database: bool,
    /// Whether the participant only gives the database to where the resource will be.
    pub is_donor: bool,
    /// Whether a generation that was given covers that.
    pub covered: bool,
}

/// What the specs of `participants` must say about every attached resource, ordered by id so that
/// the same rows always make the same spec.
///
/// One that shall go while a copy is still to be planned from it is not among them: nothing is done to
/// it.
pub async fn databases_wanted(
    ex: impl PgExecutor<'_>,
    participants: &[ParticipantId],
) -> Result<Vec<DatabaseWish>, DbError> {
    let participants: Vec<_> = participants.iter().map(|id| id.as_uuid()).collect();
    sqlx::query_as!(
        DatabaseWish,
        r#"
        select
            resources.participant_id as "participant!: ParticipantId",
            resources.id as "resource!: ResourceId",
            resources.database_name as "database_name!",
            resources.role_name as "role_name!",
            resources.verifier,
            plans.connection_limit as "connection_limit!",
            resources.state <> 'deprovisioning' as "wanted!",
            not exists (
                select
                from forks
                where
                    forks.resource_id = resources.id
                    and forks.by_transfer
                    and forks.transferred_at is null
            ) as "has_database!",
            false as "is_donor!",
            resources.instructed_generation is not null as "covered!"
        from resources
        join plans on plans.name = resources.plan
        where
            resources.participant_id = any($1)
            and (resources.verifier is not null or resources.state = 'deprovisioning')
            -- What a copy shall be taken out of stays until it is known what the copy is restored from.
            and not (
                resources.state = 'deprovisioning'
                and exists (
                    select
                    from forks
                    join resources as copies on copies.id = forks.resource_id
                    where
                        forks.parent_resource_id = resources.id
                        and forks.by_transfer
                        and forks.restore_id is null
                        and forks.problem is null
                        and copies.state = 'creating'
                )
            )
        union all
        select
            forks.donor_id,
            resources.id,
            resources.database_name,
            resources.role_name,
            resources.verifier,
            plans.connection_limit,
            true,
            true,
            true,
            true
        from forks
        join resources on resources.id = forks.resource_id
        join plans on plans.name = resources.plan
        where forks.donor_id = any($1) and resources.verifier is not null
        order by 2
        "#,
        &participants,
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("load the databases of participants"))
}

/// A resource that waits for its participant.
#[derive(Debug, Clone)]
pub struct WaitingResource {
    /// The resource.
    pub id: ResourceId,
    /// Its plan.
    pub plan: String,
    /// Where it is in its life.
    pub state: ResourceState,
}

/// Attached resources that wait for their participant: those on their way in or out, and those whose
/// endpoint is not what it should be. At most 1,000.
pub async fn resources_waiting_on(
    ex: impl PgExecutor<'_>,
    participant: ParticipantId,
) -> Result<Vec<WaitingResource>, DbError> {
    sqlx::query_as!(
        WaitingResource,
        r#"
        select id as "id: ResourceId", plan, state as "state: ResourceState"
        from resources
        where
            participant_id = $1
            and (
                state in ('creating', 'deprovisioning', 'unavailable', 'recovering')
                -- The endpoint waits for what its participant has to do first.
                or (state = 'available' and endpoint_acknowledged_generation < endpoint_generation)
            )
        order by id
        limit 1000
        "#,
        participant.as_uuid(),
    )
    .fetch_all(ex)
    .await
    .map_err(DbError::during("list the resources that wait"))
}

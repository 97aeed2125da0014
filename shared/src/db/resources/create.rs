//! The intent to create a resource: one statement, so one round trip and one commit.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use crate::archive::plan::Target;
use crate::db::DbError;
use crate::db::idempotency::{self, Key, Replay};
use crate::db::operations::Operation;
use crate::db::resources::fork::followers_of;
use crate::domain::ResourceName;
use crate::ids::{OperationId, RequestId, ResourceId, TokenId};

/// What somebody asks for.
#[derive(Debug, Clone, Copy)]
pub struct NewResource<'a> {
    /// Id it shall get.
    pub id: ResourceId,
    /// Id of the operation to follow.
    pub operation_id: OperationId,
    /// Name it shall get.
    pub name: &'a ResourceName,
    /// Plan it shall be on.
    pub plan: &'a str,
    /// What it shall begin as a copy of; none to begin empty.
    pub fork: Option<NewFork>,
    /// Moment after which "creating" raises an alert.
    pub deadline_at: DateTime<Utc>,
    /// Token that asked.
    pub token_id: TokenId,
    /// Key that makes a second identical request give the first answer; none to do without.
    pub key: Option<Key<'a>>,
    /// Request that asked.
    pub request_id: RequestId,
    /// Moment of the request.
    pub now: DateTime<Utc>,
}

/// What a new resource begins as a copy of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewFork {
    /// The original, which is alive.
    pub parent: ResourceId,
    /// What kind of copy it is.
    pub copying: Copying,
}

/// How a new resource stands to its original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copying {
    /// A database of its own, with what was committed then; the end means everything committed before
    /// the request.
    Once(Target),
    /// It goes on with what the original writes, until that is ended. Its names and its password are
    /// those of the original.
    Following,
}

/// Most followers of one database: each has a process at the leader that sends WAL, and PostgreSQL
/// has ten of those unless it is told otherwise.
pub const FOLLOWERS_MAX: usize = 8;

/// The operation that creates the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The operation to follow.
    pub operation: Operation,
    /// Whether an earlier request with the same key did it.
    pub replayed: bool,
}

/// Why nothing was created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// No plan of this name is offered.
    #[error("plan {0:?} is not offered")]
    PlanNotOffered(String),
    /// A living resource has this name.
    #[error("the name {0} is taken")]
    NameTaken(ResourceName),
    /// What it should begin as a copy of is not there, or on its way in or out.
    #[error("what is to be copied is not there")]
    NothingToCopy,
    /// What should be followed has as many followers as it can have.
    #[error("it has {FOLLOWERS_MAX} followers already")]
    TooManyFollowers,
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The control database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Creates the resource `new` in state creating, with its operation, job and audit entry.
///
/// All of it or nothing. The same request sent twice, even at once, creates one resource and gets
/// one answer if it has a key.
///
/// # Errors
/// [`CreateError`]; nothing was written then.
pub async fn create(pool: &PgPool, new: &NewResource<'_>) -> Result<Created, CreateError> {
    let refusal = match write(pool, new).await {
        Ok(Written::Inserted(Inserted { created: true, .. })) => {
            return Ok(Created {
                operation: pending(new),
                replayed: false,
            });
        }
        Ok(Written::Inserted(Inserted {
            plan_offered: false,
            ..
        })) => CreateError::PlanNotOffered(new.plan.to_owned()),
        Ok(Written::Inserted(_)) => CreateError::NameTaken(new.name.clone()),
        Ok(Written::NothingToCopy) => CreateError::NothingToCopy,
        Ok(Written::TooManyFollowers) => CreateError::TooManyFollowers,
        Err(error) if error.constraint() == Some(idempotency::ONE_USE_OF_A_KEY) => {
            CreateError::KeyReused
        }
        Err(error) => return Err(error.into()),
    };
    // A twin that came first holds the key: it has committed, because the insert waited for it.
    match idempotency::replay(pool, new.token_id, new.key).await? {
        Replay::New => Err(refusal),
        Replay::Answered(operation) => Ok(Created {
            operation,
            replayed: true,
        }),
        Replay::OtherRequest => Err(CreateError::KeyReused),
    }
}

struct Inserted {
    plan_offered: bool,
    created: bool,
}

/// What became of a write; but for what it says is inserted, nothing was written.
enum Written {
    Inserted(Inserted),
    NothingToCopy,
    TooManyFollowers,
}

/// All of it, or nothing.
async fn write(pool: &PgPool, new: &NewResource<'_>) -> Result<Written, DbError> {
    let Some(fork) = new.fork else {
        return insert(pool, new).await.map(Written::Inserted);
    };
    let failed = DbError::during("create a copy of a resource");
    let mut transaction = pool.begin().await.map_err(failed)?;
    let inserted = insert(&mut *transaction, new).await?;
    if !inserted.created {
        return Ok(Written::Inserted(inserted));
    }
    // Whoever asks for the end of the original takes the same lock, and so do other copies.
    super::lock(&mut transaction, fork.parent).await?;
    let follows = fork.copying == Copying::Following;
    if follows && followers_of(&mut *transaction, fork.parent).await?.len() >= FOLLOWERS_MAX {
        return Ok(Written::TooManyFollowers);
    }
    if !insert_fork(&mut *transaction, new, fork).await? {
        return Ok(Written::NothingToCopy);
    }
    if follows {
        take_names(&mut *transaction, new.id).await?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(Written::Inserted(inserted))
}

/// Whether what is to be copied is there.
async fn insert_fork(
    executor: impl PgExecutor<'_>,
    new: &NewResource<'_>,
    fork: NewFork,
) -> Result<bool, DbError> {
    let (lsn, at) = match fork.copying {
        Copying::Once(Target::Lsn { lsn }) => (i64::try_from(lsn.bytes()).ok(), None),
        Copying::Once(Target::Time { at }) => (None, Some(at)),
        Copying::Once(Target::End) | Copying::Following => (None, None),
    };
    let done = sqlx::query!(
        r#"
        insert into forks (
            resource_id, parent_resource_id, parent_timeline_id, target_lsn, target_at, asked_at,
            follows, by_transfer
        )
        select $1, resources.id, participants.timeline_id, $3, $4, $5, $6,
            not (plans.dedicated and own_plans.dedicated)
        from resources
        join plans on plans.name = resources.plan
        join plans as own_plans on own_plans.name = $7
        join participants
            on participants.id = resources.participant_id and participants.role = 'leader'
        where
            resources.id = $2
            and resources.destroy_requested_at is null
            and resources.state in ('available', 'unavailable', 'recovering')
        "#,
        new.id.as_uuid(),
        fork.parent.as_uuid(),
        lsn,
        at,
        new.now,
        fork.copying == Copying::Following,
        new.plan,
    )
    .execute(executor)
    .await
    .map_err(DbError::during("create a copy of a resource"))?;
    Ok(done.rows_affected() == 1)
}

/// Gives a follower the names of its original: what it replays has those.
async fn take_names(executor: impl PgExecutor<'_>, id: ResourceId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        update resources
        set database_name = parents.database_name, role_name = parents.role_name
        from forks
        join resources as parents on parents.id = forks.parent_resource_id
        where resources.id = $1 and forks.resource_id = $1
        "#,
        id.as_uuid(),
    )
    .execute(executor)
    .await
    .map_err(DbError::during("create a follower of a resource"))?;
    Ok(())
}

async fn insert(executor: impl PgExecutor<'_>, new: &NewResource<'_>) -> Result<Inserted, DbError> {
    let database_name = new.name.database_name(new.id);
    sqlx::query_as!(
        Inserted,
        r#"
        with chosen_plan as (
            select name
            from plans
            where name = $3 and offered
        ),
        -- Waits for a twin that is under way with the same name, and then does nothing.
        new_resource as (
            insert into resources (
                id, name, plan, state, state_since, deadline_at, database_name, role_name,
                routing_name, request_id, created_at
            )
            select $1, $2, name, 'creating', $10, $5, $4, $4, $4, $9, $10
            from chosen_plan
            on conflict (name) where state <> 'deprovisioned' do nothing
            returning id
        ),
        new_operation as (
            insert into operations (id, resource_id, kind, state, request_id, created_at)
            select $6, id, 'create', 'pending', $9, $10
            from new_resource
        ),
        new_job as (
            insert into jobs (kind, subject_id, request_id, created_at, changed_at)
            select 'provision', id, $9, $10, $10
            from new_resource
        ),
        -- A key that was used fails the whole statement.
        used_key as (
            insert into idempotency_keys (token_id, key, request_hash, operation_id, created_at)
            select $7, $8, $11, $6, $10
            from new_resource
            where $8::text is not null
        ),
        audited as (
            insert into audit (token_id, action, subject, request_id, at)
            select $7, 'create', 'resource ' || $2, $9, $10
            from new_resource
        )
        select
            exists (select from chosen_plan) as "plan_offered!",
            exists (select from new_resource) as "created!"
        "#,
        new.id.as_uuid(),
        new.name.as_str(),
        new.plan,
        database_name,
        new.deadline_at,
        new.operation_id.as_uuid(),
        new.token_id.as_uuid(),
        new.key.map(|key| key.key),
        new.request_id.as_uuid(),
        new.now,
        new.key.map(|key| key.request_hash.to_vec()),
    )
    .fetch_one(executor)
    .await
    .map_err(DbError::during("create a resource"))
}

fn pending(new: &NewResource<'_>) -> Operation {
    use crate::domain::{OperationKind, OperationState};
    Operation {
        id: new.operation_id,
        resource_id: new.id,
        resource_name: new.name.to_string(),
        kind: OperationKind::Create,
        state: OperationState::Pending,
        error: None,
        request_id: new.request_id,
        created_at: new.now,
        finished_at: None,
    }
}

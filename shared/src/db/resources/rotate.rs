//! The intent that the owner of a database gets another password: stored at once, with the followers
//! that have the same one, and in force once the servers and the endpoint have it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::db::DbError;
use crate::db::fleet::Credential;
use crate::db::operations::{self, Operation};
use crate::domain::OperationKind;
use crate::ids::{OperationId, RequestId, ResourceId, ServerId, TokenId};

/// Who asks for another password of which resource.
#[derive(Debug, Clone, Copy)]
pub struct RotationRequest {
    /// The resource.
    pub resource_id: ResourceId,
    /// Id of the operation to follow, if none is under way.
    pub operation_id: OperationId,
    /// Token that asked.
    pub token_id: TokenId,
    /// Request that asked.
    pub request_id: RequestId,
    /// Moment of the request.
    pub now: DateTime<Utc>,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// It follows this one, and has its password.
    #[error("it follows {0}, and has its password")]
    Follows(String),
    /// These have the same owner and are written to by themselves: one of them could not log in.
    #[error("its owner is that of {0:?}, too")]
    SharesOwner(Vec<String>),
    /// It is still being made, or on its way out.
    #[error("it is not there yet, or on its way out")]
    NotReady,
    /// The control database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The operation to follow.
    pub operation: Operation,
    /// Servers that have something to do for it.
    pub servers: Vec<ServerId>,
}

/// Stores another password for a resource and its followers, with operation and audit entry. `seal`
/// gives the same one for each, encrypted for its row.
///
/// Asked again while that is under way, it changes nothing and gives the same operation. Run it in a
/// transaction that is rolled back on an error.
///
/// # Errors
/// [`RotationError`].
pub async fn request_rotation(
    connection: &mut PgConnection,
    request: &RotationRequest,
    seal: impl Fn(ResourceId) -> Credential,
) -> Result<Rotation, RotationError> {
    let id = request.resource_id;
    // Whoever makes a follower takes the same lock.
    super::lock(connection, id).await?;
    let pending = operations::find_pending(&mut *connection, id, OperationKind::Rotate).await?;
    if let Some(operation) = pending {
        let servers = Vec::new();
        return Ok(Rotation { operation, servers });
    }
    let mut servers = Vec::new();
    for (resource, server) in group(connection, id).await? {
        store(connection, resource, &seal(resource)).await?;
        servers.extend(server);
    }
    note(connection, request).await?;
    let operation = operations::get(&mut *connection, request.operation_id).await?;
    let operation = operation.ok_or(RotationError::NotReady)?;
    Ok(Rotation { operation, servers })
}

/// Every resource that has the password of this one, with its server.
async fn group(
    connection: &mut PgConnection,
    id: ResourceId,
) -> Result<Vec<(ResourceId, Option<ServerId>)>, RotationError> {
    let rows = sqlx::query!(
        r#"
        select
            others.id as "id: ResourceId",
            others.name,
            own.state in ('available', 'unavailable', 'recovering')
                and own.destroy_requested_at is null as "is_ready!",
            (
                select parents.name
                from forks
                join resources as parents on parents.id = forks.parent_resource_id
                where forks.resource_id = own.id and forks.follows and forks.unfollowed_at is null
            ) as follows,
            others.id = own.id or exists (
                select
                from forks
                where
                    forks.resource_id = others.id
                    and forks.parent_resource_id = own.id
                    and forks.follows
                    and forks.unfollow_requested_at is null
            ) as "has_its_password!",
            participants.server_id as "server?: ServerId"
        from resources as own
        join resources as others
            on others.role_name = own.role_name and others.state <> 'deprovisioned'
        left join participants on participants.id = others.participant_id
        where own.id = $1
        order by others.id
        "#,
        id.as_uuid(),
    )
    .fetch_all(connection)
    .await
    .map_err(DbError::during("find who has a password"))?;
    let Some(own) = rows.first().filter(|row| row.is_ready) else {
        return Err(RotationError::NotReady);
    };
    if let Some(original) = &own.follows {
        return Err(RotationError::Follows(original.clone()));
    }
    let (group, strangers): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.has_its_password);
    if !strangers.is_empty() {
        let names = strangers.into_iter().map(|row| row.name);
        return Err(RotationError::SharesOwner(names.collect()));
    }
    Ok(group.into_iter().map(|row| (row.id, row.server)).collect())
}

/// One that has no password yet will take the new one. The others need another instruction, and the
/// endpoint another word after that.
async fn store(
    connection: &mut PgConnection,
    id: ResourceId,
    credential: &Credential,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        update resources
        set
            password = $2,
            verifier = $3,
            instructed_generation = null,
            endpoint_generation = endpoint_generation + 1,
            version = version + 1
        where id = $1 and password is not null
        "#,
        id.as_uuid(),
        credential.password,
        credential.verifier,
    )
    .execute(connection)
    .await
    .map_err(DbError::during("store another password"))?;
    Ok(())
}

async fn note(connection: &mut PgConnection, request: &RotationRequest) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        with new_operation as (
            insert into operations (id, resource_id, kind, state, request_id, created_at)
            values ($2, $1, 'rotate', 'pending', $4, $5)
        )
        insert into audit (token_id, action, subject, request_id, at)
        select $3, 'rotate', 'resource ' || name, $4, $5
        from resources
        where id = $1
        "#,
        request.resource_id.as_uuid(),
        request.operation_id.as_uuid(),
        request.token_id.as_uuid(),
        request.request_id.as_uuid(),
        request.now,
    )
    .execute(connection)
    .await
    .map_err(DbError::during("note the request for another password"))?;
    Ok(())
}

//! Another password for the owner of a database.

use anyhow::Context as _;
use shared::clock::{Clock as _, SystemClock};
use shared::db::fleet::Credential;
use shared::db::operations;
use shared::db::resources::rotate::{RotationError, RotationRequest, request_rotation};
use shared::db::resources::{password_context, verifier_context};
use shared::domain::{OperationKind, OperationState, TokenScope};
use shared::ids::{OperationId, RequestId, ResourceId};
use shared::queue::Member;
use shared::secret::Secret;
use sqlx::Executor as _;
use tests::world::World;

use super::world::{Led, connect, followed, until_ok};

/// Asks for another password, as the API does.
async fn rotate(
    world: &World,
    id: ResourceId,
) -> anyhow::Result<Result<OperationId, RotationError>> {
    let (token, _) = world
        .database
        .token(TokenScope::Write, SystemClock.now())
        .await?;
    let request = RotationRequest {
        resource_id: id,
        operation_id: OperationId::new(),
        token_id: token,
        request_id: RequestId::new(),
        now: SystemClock.now(),
    };
    let password = Secret::random();
    let verifier = Secret::new(password.scram_verifier());
    let seal = |id| Credential {
        password: world.vault.seal(&password_context(id), &password),
        verifier: world.vault.seal(&verifier_context(id), &verifier),
    };
    let mut transaction = world.database.pool.begin().await?;
    let rotation = match request_rotation(&mut transaction, &request, seal).await {
        Ok(rotation) => rotation,
        Err(refused) => return Ok(Err(refused)),
    };
    transaction.commit().await?;
    for server in rotation.servers {
        let (ring, member) = Member::of_server(server);
        world.queue.wake(ring, member).await?;
    }
    Ok(Ok(rotation.operation.id))
}

async fn until_rotated(world: &World, operation: OperationId) -> anyhow::Result<()> {
    until_ok(async || {
        let found = operations::get(&world.database.pool, operation).await?;
        let found = found.context("the operation is there")?;
        anyhow::ensure!(found.state == OperationState::Succeeded, "{found:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_password_is_refused_and_its_sessions_stay() -> anyhow::Result<()> {
    let led = Led::start().await?;
    let former = led.world.url(led.id).await?;
    let mut session = connect(&former).await?;
    session.execute("begin").await?;

    let operation = rotate(&led.world, led.id).await??;
    let again = rotate(&led.world, led.id).await??;
    until_rotated(&led.world, operation).await?;
    assert_eq!(again, operation, "one is under way");

    let url = led.world.url(led.id).await?;
    assert_ne!(url.expose(), former.expose());
    connect(&url).await?;
    connect(&led.world.pooled_url(led.id).await?).await?;
    assert!(connect(&former).await.is_err());
    session.execute("select 1").await?;
    // And not at the gateway alone.
    let row = led.world.row(led.id).await?;
    let server = row
        .base
        .and_then(|base| base.postgres)
        .context("it is placed")?;
    let endpoint = row.endpoint.context("it has an endpoint")?;
    for (url, good) in [(&url, true), (&former, false)] {
        let direct = url
            .expose()
            .replace(&endpoint.to_string(), &server.to_string());
        assert_eq!(connect(&Secret::new(direct)).await.is_ok(), good);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_get_the_password_of_their_original() -> anyhow::Result<()> {
    let (protected, _gateway, follower) = followed().await?;
    let world = &protected.world;

    let refused = rotate(world, follower).await?.unwrap_err();
    assert!(
        matches!(&refused, RotationError::Follows(original) if original == "shop"),
        "{refused:?}"
    );
    let former = world.url(follower).await?;
    let operation = rotate(world, protected.id).await??;
    until_rotated(world, operation).await?;
    connect(&world.url(protected.id).await?).await?;
    let url = world.url(follower).await?;
    assert_ne!(url.expose(), former.expose());
    until_ok(async || Ok(connect(&url).await?)).await?;
    assert!(connect(&former).await.is_err());

    // Once it goes on by itself, the owner is that of two.
    world.unfollow(follower).await?;
    for (one, other) in [(protected.id, "reports"), (follower, "shop")] {
        until_ok(async || {
            let refused = rotate(world, one).await?;
            let names = match &refused {
                Err(RotationError::SharesOwner(names)) => names.as_slice(),
                _ => &[],
            };
            anyhow::ensure!(names == [other], "{refused:?}");
            Ok(())
        })
        .await?;
    }
    let pending = operations::find_pending(&world.database.pool, follower, OperationKind::Rotate);
    assert_eq!(pending.await?, None);
    Ok(())
}

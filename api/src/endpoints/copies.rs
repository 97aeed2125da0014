//! What asking for a fork and for a follower have in common.

use shared::db::idempotency::{self, Key, Replay};
use shared::db::resources::Resource;
use shared::db::resources::create::{CreateError, NewResource, create};
use shared::db::resources::fork::{ForkOf, fork_of};
use shared::db::tokens::Bearer;
use shared::domain::JobKind;
use shared::http_api::{IDEMPOTENCY_KEY_HEADER, Operation, ProblemCode};
use shared::queue::Member;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::Call;
use crate::failure::Failure;

/// What an earlier request with the same key was answered, whatever became of the original since.
pub(super) async fn answered(
    app: &App,
    call: &Call,
    bearer: &Bearer,
    request_hash: [u8; 32],
) -> Result<Option<Operation>, Failure> {
    let key = call.header(IDEMPOTENCY_KEY_HEADER)?;
    let key = key.map(|key| Key { key, request_hash });
    match idempotency::replay(&app.pool, bearer.id, key).await? {
        Replay::New => Ok(None),
        Replay::Answered(operation) => Ok(Some(operation.into())),
        Replay::OtherRequest => Err(CreateError::KeyReused.into()),
    }
}

/// Refuses an original that is a follower itself: what it has, its own original has.
pub(super) async fn refuse_follower(app: &App, original: &Resource) -> Result<(), Failure> {
    let copy = fork_of(&app.pool, original.id).await?;
    let Some(followed) = copy.filter(ForkOf::is_following) else {
        return Ok(());
    };
    let (name, leader) = (&original.name, followed.parent_name);
    Err(Failure::new(
        ProblemCode::Following,
        format!(
            "{name} follows {leader}; ask for it of {leader}, or let {name} go on by itself first"
        ),
    ))
}

/// Stores the request and has it begun.
pub(super) async fn accept(app: &App, new: &NewResource<'_>) -> Result<Response, Failure> {
    let created = create(&app.pool, new).await?;
    app.wakes.wake(Member::of_job(
        JobKind::Provision,
        created.operation.resource_id.into(),
    ));
    Ok(answer::accepted(&Operation::from(created.operation)))
}

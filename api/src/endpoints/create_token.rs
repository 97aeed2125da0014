//! `POST /v1/tokens`.

use std::sync::Arc;

use chrono::Duration;
use shared::db::audit::{self, Entry};
use shared::db::{DbError, tokens};
use shared::domain::TokenScope;
use shared::http_api::{CreateToken, NewToken, Problem, ProblemCode, Token};
use shared::ids::{RequestId, TokenId};
use shared::secret::Secret;
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/tokens";

/// Days until a token expires, if the request does not say.
const DAYS_DEFAULT: u32 = 90;

/// Most days until a token expires.
const DAYS_MAX: u32 = 3650;

/// Longest name of a token, in characters.
const NAME_MAX: usize = 80;

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "tokens")
        .and(warp::post())
        .and(call(PATH))
        .then(move |mut call: Call| {
            let app = Arc::clone(&app);
            async move {
                let result = handle(&app, &mut call).await;
                call.answer(result)
            }
        })
        .boxed()
}

/// Makes a token. Its secret is in this answer and nowhere else; if the answer is lost, revoke the token and make another.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    operation_id = "create_token",
    tag = "tokens",
    request_body = CreateToken,
    security(("bearer" = [])),
    responses(
        (status = 201, description = "The token with its secret.", body = NewToken),
        (status = 400, description = "The body cannot be read, or a value is out of range.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &mut Call) -> Result<Response, Failure> {
    let bearer = call.authorise(app, TokenScope::Admin).await?;
    let wanted: CreateToken = call.json()?;
    check(&wanted)?;
    let (now, secret) = (app.clock.now(), Secret::random());
    let days = wanted.expires_in_days.unwrap_or(DAYS_DEFAULT);
    let token = Token {
        id: TokenId::new(),
        name: wanted.name,
        scope: wanted.scope,
        created_at: now,
        expires_at: now + Duration::days(days.into()),
        revoked_at: None,
    };
    store(app, &token, &secret, bearer.id, call.request_id).await?;
    Ok(answer::json(201, &NewToken { token, secret }))
}

fn check(wanted: &CreateToken) -> Result<(), Failure> {
    let refused = |detail: String| Err(Failure::new(ProblemCode::InvalidRequest, detail));
    let characters = wanted.name.chars().count();
    if !(1..=NAME_MAX).contains(&characters) || wanted.name.chars().any(char::is_control) {
        return refused(format!("name must be 1 to {NAME_MAX} printable characters"));
    }
    if wanted
        .expires_in_days
        .is_some_and(|days| !(1..=DAYS_MAX).contains(&days))
    {
        return refused(format!("expires_in_days must be between 1 and {DAYS_MAX}"));
    }
    Ok(())
}

async fn store(
    app: &App,
    token: &Token,
    secret: &Secret,
    by: TokenId,
    request_id: RequestId,
) -> Result<(), DbError> {
    let new = tokens::NewToken {
        id: token.id,
        name: &token.name,
        hash: secret.sha256(),
        scope: token.scope,
        now: token.created_at,
        expires_at: token.expires_at,
    };
    let entry = Entry {
        token_id: by,
        action: "create",
        subject: &format!("token {}", token.id),
        request_id,
        at: token.created_at,
    };
    let failed = DbError::during("create a token");
    let mut transaction = app.pool.begin().await.map_err(failed)?;
    tokens::create(&mut *transaction, &new).await?;
    audit::record(&mut *transaction, &entry).await?;
    transaction.commit().await.map_err(failed)
}

//! `DELETE /v1/tokens/{id}`.

use std::sync::Arc;

use shared::db::audit::{self, Entry};
use shared::db::{DbError, tokens};
use shared::domain::TokenScope;
use shared::http_api::{Problem, ProblemCode, Token};
use shared::ids::TokenId;
use warp::Filter as _;
use warp::reply::Response;

use crate::answer;
use crate::app::App;
use crate::call::{Call, call};
use crate::failure::Failure;
use crate::routes::Routes;

const PATH: &str = "/v1/tokens/{id}";

pub(crate) fn route(app: &Arc<App>) -> Routes {
    let app = Arc::clone(app);
    warp::path!("v1" / "tokens" / String)
        .and(warp::delete())
        .and(call(PATH))
        .then(move |id: String, call: Call| {
            let app = Arc::clone(&app);
            async move {
                let result = handle(&app, &call, &id).await;
                call.answer(result)
            }
        })
        .boxed()
}

/// Takes a token back, for ever. Every process refuses it within seconds.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    operation_id = "revoke_token",
    tag = "tokens",
    params(("id" = TokenId, Path, description = "id of the token")),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The token, revoked.", body = Token),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such token.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests of this token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The control plane is not available.", body = Problem, content_type = "application/problem+json")
    )
)]
async fn handle(app: &App, call: &Call, id: &str) -> Result<Response, Failure> {
    let bearer = call.authorise(app, TokenScope::Admin).await?;
    let missing = || {
        let detail = "there is no token with this id; list them with GET /v1/tokens";
        Failure::new(ProblemCode::NotFound, detail)
    };
    let id: TokenId = id.parse().map_err(|_| missing())?;
    let entry = Entry {
        token_id: bearer.id,
        action: "revoke",
        subject: &format!("token {id}"),
        request_id: call.request_id,
        at: app.clock.now(),
    };
    let failed = DbError::during("revoke a token");
    let mut transaction = app.pool.begin().await.map_err(failed)?;
    let token = tokens::revoke(&mut *transaction, id, entry.at)
        .await?
        .ok_or_else(missing)?;
    audit::record(&mut *transaction, &entry).await?;
    transaction.commit().await.map_err(failed)?;
    app.tokens.forget(id);
    Ok(answer::json(200, &Token::from(token)))
}

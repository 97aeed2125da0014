//! The tables of the control database, and the administrator's token.

use chrono::TimeDelta;
use shared::clock::{Clock as _, SystemClock};
use shared::db::{self, ConnectOptions, tokens};
use shared::domain::TokenScope;
use shared::ids::TokenId;
use shared::secret::Secret;

use super::Directory;
use super::directory::write_private;
use super::state::{Ports, loopback};
use crate::connection::{CLIENT_FILE, ClientFile};
use crate::failure::Failure;

/// How long the token is good.
const GOOD_FOR: TimeDelta = TimeDelta::days(365);

/// A token with less time left is replaced at the next start.
const RENEW_BEFORE: TimeDelta = TimeDelta::days(30);

/// Brings the control database to its newest form, makes sure that the token in the directory is
/// good, and leaves what the command line needs to find the API.
pub(super) async fn migrate_and_ensure(
    directory: &Directory,
    database: &Secret,
    ports: Ports,
) -> Result<(), Failure> {
    let options = ConnectOptions::of("ringmaster up");
    let pool = db::connect(database, &options)
        .await
        .map_err(Failure::during("reach the control database"))?;
    db::migrate(&pool)
        .await
        .map_err(Failure::during("migrate the control database"))?;
    ensure_token(directory, &pool).await?;
    pool.close().await;
    let file = ClientFile {
        api_url: format!("http://{}", loopback(ports.api)),
        token_file: directory.token(),
    };
    let text = serde_json::to_string(&file).map_err(Failure::during("write the client file"))?;
    write_private(&directory.join(CLIENT_FILE), &text)
}

/// A token that is about to expire, was revoked, or belongs to another control database, is
/// replaced.
async fn ensure_token(directory: &Directory, pool: &sqlx::PgPool) -> Result<(), Failure> {
    let now = SystemClock.now();
    let failed = || Failure::during("make the administrator's token");
    let secret = directory.secret("admin.token", Secret::random)?;
    let known = tokens::authenticate(pool, &secret.sha256(), now)
        .await
        .map_err(failed())?;
    if known.is_some_and(|bearer| bearer.expires_at > now + RENEW_BEFORE) {
        return Ok(());
    }
    let fresh = Secret::random();
    let new = tokens::NewToken {
        id: TokenId::new(),
        name: "ringmaster up",
        hash: fresh.sha256(),
        scope: TokenScope::Admin,
        now,
        expires_at: now + GOOD_FOR,
    };
    tokens::create(pool, &new).await.map_err(failed())?;
    write_private(&directory.token(), fresh.expose())
}

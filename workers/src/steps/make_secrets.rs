//! Makes the password of a database's owner. A follower has that of its original: what it replays has
//! it too.

use shared::db::fleet::{Credential, ResourceRow, record_secret, secrets_of_original};
use shared::secret::Secret;

use super::{Performed, contexts};
use crate::context::Context;
use crate::ring::TurnError;

/// Makes password and verifier, or takes those of the original, and stores both encrypted. A password that is there stays: the write
/// is refused and the next look finds it.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    let (password, verifier) = if row.follows {
        let Some(original) = secrets_of_original(&context.pool, row.id).await? else {
            return Ok(Performed::Overtaken);
        };
        let (vault, id) = (&context.vault, original.resource);
        (
            vault.open(&contexts::password(id), &original.password)?,
            vault.open(&contexts::verifier(id), &original.verifier)?,
        )
    } else {
        let password = Secret::random();
        let verifier = Secret::new(password.scram_verifier());
        (password, verifier)
    };
    let credential = Credential {
        password: context.vault.seal(&contexts::password(row.id), &password),
        verifier: context.vault.seal(&contexts::verifier(row.id), &verifier),
    };
    Ok(
        record_secret(&context.pool, (row.id, row.version), &credential)
            .await?
            .into(),
    )
}

//! Makes the password of a database's owner.

use shared::db::fleet::{Credential, ResourceRow, record_secret};
use shared::secret::Secret;

use super::{Performed, contexts};
use crate::context::Context;
use crate::ring::TurnError;

/// Makes password and verifier and stores both encrypted. A password that is there stays: the write
/// is refused and the next look finds it.
pub(super) async fn perform(context: &Context, row: &ResourceRow) -> Result<Performed, TurnError> {
    let password = Secret::random();
    let verifier = Secret::new(password.scram_verifier());
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

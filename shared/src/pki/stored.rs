//! The certificate authority of the control plane: made once, by whichever process is first.

use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use super::{CertificateAuthority, PkiError};
use crate::clock::Clock;
use crate::db::{DbError, control_secrets};
use crate::secret::{Secret, Vault, VaultError};

/// Name of the secret, and what binds it to its place.
const NAME: &str = "certificate-authority";

/// Certificate and key are one value, so that no two processes can store halves of two.
#[derive(Serialize, Deserialize)]
struct Stored {
    certificate: String,
    key: Secret,
}

/// The authority could not be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The control database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The stored authority cannot be opened.
    #[error(
        "the stored certificate authority cannot be opened; is the encryption key another one?"
    )]
    Vault(#[from] VaultError),
    /// The stored authority is not one.
    #[error("the stored certificate authority is damaged")]
    Damaged(#[from] serde_json::Error),
    /// It could not be made or read.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// The authority, stored encrypted; made if there is none.
pub async fn load_or_make(
    pool: &PgPool,
    vault: &Vault,
    clock: &dyn Clock,
) -> Result<CertificateAuthority, AuthorityError> {
    let sealed = match control_secrets::get(pool, NAME).await? {
        Some(sealed) => sealed,
        None => store(pool, vault, clock).await?,
    };
    let opened = vault.open(NAME, &sealed)?;
    let stored: Stored = serde_json::from_str(opened.expose())?;
    Ok(CertificateAuthority::from_pem(
        &stored.certificate,
        &stored.key,
    )?)
}

/// Stores a new authority, and answers what is stored: another process's, if that was quicker.
async fn store(pool: &PgPool, vault: &Vault, clock: &dyn Clock) -> Result<Vec<u8>, AuthorityError> {
    let made = CertificateAuthority::generate(clock)?;
    let stored = Stored {
        certificate: made.certificate_pem().to_owned(),
        key: made.key_pem(),
    };
    let sealed = vault.seal(NAME, &Secret::new(serde_json::to_string(&stored)?));
    let mut connection = pool
        .acquire()
        .await
        .map_err(DbError::during("store the certificate authority"))?;
    Ok(control_secrets::get_or_insert(&mut connection, NAME, &sealed, clock.now()).await?)
}

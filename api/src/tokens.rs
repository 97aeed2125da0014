//! Bearer tokens, checked against the control database and remembered for a few seconds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::db::DbError;
use shared::db::tokens::{self, Bearer};
use shared::ids::TokenId;
use shared::secret::Secret;
use sqlx::PgPool;
use tokio::time::Instant;

/// Tokens remembered before old ones are looked for and forgotten.
const SWEEP_AT: usize = 4096;

/// Longest text that is looked at as a token; ours have 43 characters.
const TOKEN_BYTES_MAX: usize = 256;

type Hash = [u8; 32];

/// Good tokens that were looked up lately. Only hashes are kept.
#[derive(Debug)]
pub(crate) struct TokenCache {
    keep: Duration,
    known: Mutex<HashMap<Hash, (Bearer, Instant)>>,
}

impl TokenCache {
    /// Remembers each good token for `keep`.
    pub(crate) fn new(keep: Duration) -> Self {
        Self {
            keep,
            known: Mutex::default(),
        }
    }

    /// Who sent this token; `None` if it is unknown, expired or revoked. Revocations at other
    /// processes are seen after the time to keep at the latest.
    pub(crate) async fn bearer(
        &self,
        pool: &PgPool,
        token: &Secret,
        now: DateTime<Utc>,
    ) -> Result<Option<Bearer>, DbError> {
        if token.expose().len() > TOKEN_BYTES_MAX {
            return Ok(None);
        }
        let hash = token.sha256();
        if let Some(bearer) = self.remembered(&hash) {
            return Ok(Some(bearer).filter(|bearer| bearer.expires_at > now));
        }
        let bearer = tokens::authenticate(pool, &hash, now).await?;
        if let Some(bearer) = bearer {
            self.remember(hash, bearer);
        }
        Ok(bearer)
    }

    /// Forgets a token that was revoked here.
    pub(crate) fn forget(&self, id: TokenId) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (bearer, _)| bearer.id != id);
    }

    fn remembered(&self, hash: &Hash) -> Option<Bearer> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (bearer, looked_up) = known.get(hash)?;
        (looked_up.elapsed() < self.keep).then_some(*bearer)
    }

    fn remember(&self, hash: Hash, bearer: Bearer) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SWEEP_AT {
            known.retain(|_, (_, looked_up)| looked_up.elapsed() < self.keep);
        }
        // Still that many good tokens within seconds: do without remembering this one.
        if known.len() < SWEEP_AT {
            known.insert(hash, (bearer, Instant::now()));
        }
    }
}

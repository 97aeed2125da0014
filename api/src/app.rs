//! What every endpoint works with.

use std::sync::Arc;

use shared::clock::Clock;
use shared::queue::Queue;
use shared::secret::Vault;
use shared::telemetry::MetricsHandle;
use sqlx::PgPool;

use crate::config::LimitOptions;
use crate::limiter::Limiter;
use crate::tokens::TokenCache;
use crate::wakes::Wakes;

/// What the API needs from outside.
pub struct AppParts {
    /// The control database.
    pub pool: PgPool,
    /// The queue to wake; Redis may be away.
    pub queue: Queue,
    /// Opens the passwords of resources.
    pub vault: Vault,
    /// Where moments come from.
    pub clock: Arc<dyn Clock>,
    /// What `/metrics` shows.
    pub metrics: MetricsHandle,
    /// Limits of requests.
    pub limits: LimitOptions,
}

/// What every endpoint works with, shared by all requests.
pub struct App {
    pub(crate) pool: PgPool,
    pub(crate) queue: Queue,
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: MetricsHandle,
    pub(crate) tokens: TokenCache,
    pub(crate) limiter: Limiter,
    pub(crate) wakes: Wakes,
    pub(crate) connections_max: usize,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: AppParts) -> Arc<Self> {
        let limits = &parts.limits;
        Arc::new(Self {
            tokens: TokenCache::new(limits.token_cache()),
            limiter: Limiter::new(limits.rate_limit, limits.rate_burst),
            wakes: Wakes::new(parts.queue.clone()),
            connections_max: usize::try_from(limits.http_connections).unwrap_or(usize::MAX),
            pool: parts.pool,
            queue: parts.queue,
            vault: parts.vault,
            clock: parts.clock,
            metrics: parts.metrics,
        })
    }
}

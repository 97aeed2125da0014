//! The gateway as an endpoint: routes are rows, and every live replica says what it has applied.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::clock::Clock;
use shared::db::DbError;
use shared::db::gateways::{self, Standing};
use shared::db::routes::{self, Heard, Word};
use shared::domain::Traffic;
use shared::ids::ResourceId;
use shared::ports::{Address, Endpoint, EndpointError, Place, Route};
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

/// Longest wait for replicas to apply a word. One that is silent counts as gone in less, so what is
/// waited for here are clients that leave a paused route; a turn that gives up comes back.
const PATIENCE: Duration = Duration::from_secs(4);

/// Pauses between two looks at how far replicas are: they usually need some milliseconds.
const LOOK_MIN: Duration = Duration::from_millis(4);
const LOOK_MAX: Duration = Duration::from_millis(100);

/// Leads customers through the replicas of the gateway.
pub struct GatewayEndpoint {
    pool: PgPool,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for GatewayEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayEndpoint").finish_non_exhaustive()
    }
}

/// Replicas that do not do what they were told.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error("no gateway is live; start one (ringmaster-gateway), or see its log")]
    NobodyLive,
    #[error("{behind} of {live} gateways have not applied it after {PATIENCE:?}")]
    Behind { live: u64, behind: u64 },
    #[error("a live gateway tells no address")]
    NoAddress,
}

impl GatewayEndpoint {
    /// Through the routes in this control database.
    pub fn new(pool: PgPool, clock: Arc<dyn Clock>) -> Self {
        Self { pool, clock }
    }

    /// Stores a word, and gives the number of its change.
    async fn tell(&self, word: &Word<'_>) -> Result<u64, EndpointError> {
        let (resource, generation) = (word.resource, word.generation);
        let heard = routes::hear(&self.pool, word).await;
        match heard.map_err(|error| transient(resource, error))? {
            Heard::Change(change) => Ok(change),
            Heard::OldGeneration => Err(EndpointError::OldGeneration {
                resource,
                generation,
            }),
            Heard::GenerationReused => Err(EndpointError::GenerationReused {
                resource,
                generation,
            }),
        }
    }

    /// Waits until a change is in force at every replica that is live.
    async fn until_applied(
        &self,
        resource: ResourceId,
        change: u64,
    ) -> Result<Standing, EndpointError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = LOOK_MIN;
        loop {
            let standing = gateways::standing(&self.pool, resource, change)
                .await
                .map_err(|error: DbError| transient(resource, error))?;
            if standing.behind == 0 {
                return Ok(standing);
            }
            if Instant::now() >= deadline {
                let Standing { live, behind, .. } = standing;
                return Err(transient(resource, Unheard::Behind { live, behind }));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }
}

impl Endpoint for GatewayEndpoint {
    fn point<'a>(&'a self, route: &'a Route) -> BoxFuture<'a, Result<Place, EndpointError>> {
        async move {
            let resource = route.resource;
            let word = Word {
                resource,
                generation: route.generation,
                upstream: Some(&route.upstream),
                traffic: route.traffic,
                now: self.clock.now(),
            };
            let change = self.tell(&word).await?;
            let standing = self.until_applied(resource, change).await?;
            if standing.live == 0 {
                return Err(transient(resource, Unheard::NobodyLive));
            }
            let told = standing.told;
            let (host, port, pooled_port) =
                told.ok_or_else(|| transient(resource, Unheard::NoAddress))?;
            Ok(Place {
                address: Address { host, port },
                pooled_port: Some(pooled_port),
                database: routing_name(&self.pool, resource).await?,
            })
        }
        .boxed()
    }

    fn withdraw(
        &self,
        resource: ResourceId,
        generation: u64,
    ) -> BoxFuture<'_, Result<(), EndpointError>> {
        async move {
            let word = Word {
                resource,
                generation,
                upstream: None,
                traffic: Traffic::Cut,
                now: self.clock.now(),
            };
            let change = self.tell(&word).await?;
            self.until_applied(resource, change).await.map(drop)
        }
        .boxed()
    }
}

async fn routing_name(pool: &PgPool, resource: ResourceId) -> Result<String, EndpointError> {
    routes::routing_name(pool, resource)
        .await
        .map_err(|error| transient(resource, error))
}

fn transient(
    resource: ResourceId,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> EndpointError {
    EndpointError::Transient {
        resource,
        source: source.into(),
    }
}

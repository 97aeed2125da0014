//! A database behind a gateway.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use shared::clock::SystemClock;
use shared::db::gateways;
use shared::domain::{ResourceState, Traffic};
use shared::ids::ResourceId;
use shared::ports::{Address, Endpoint as _, EndpointError, Place, Route};
use shared::secret::Secret;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tests::world::{PATIENCE, RunningGateway, World};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use workers::endpoint::GatewayEndpoint;

use crate::protection::world::Protected;

/// Time between two looks while waiting.
const LOOK: Duration = Duration::from_millis(20);

/// Long enough for whatever would happen at once.
pub(crate) const A_WHILE: Duration = Duration::from_millis(400);

/// A control plane with one replica of the gateway, and a database.
pub(crate) struct Led {
    // Before the world: what it runs is found by its directory there.
    pub(crate) gateway: RunningGateway,
    pub(crate) world: World,
    pub(crate) id: ResourceId,
    /// Number of the last word about it.
    pub(crate) generation: u64,
}

impl Led {
    /// A database that is available.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same behind a gateway with these variables in its environment.
    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut world = World::without_workers().await?;
        world.endpoint = "gateway";
        let gateway = world.start_gateway("gateway", None, variables).await?;
        world.start_worker(&[]).await?;
        let id = world.create("shop", "standard").await?;
        world.until(id, ResourceState::Available).await?;
        Ok(Self {
            world,
            gateway,
            id,
            generation: 100,
        })
    }

    /// Where its PostgreSQL is.
    pub(crate) async fn upstream(&self) -> anyhow::Result<Address> {
        let base = self.world.row(self.id).await?.base;
        base.and_then(|base| base.postgres)
            .context("it has a server")
    }

    /// Says the next word about it, as a worker does.
    pub(crate) async fn say(&mut self, traffic: Traffic) -> anyhow::Result<Place> {
        let upstream = self.upstream().await?;
        Ok(self.say_to(upstream, traffic).await?)
    }

    /// The same about another server.
    pub(crate) async fn say_to(
        &mut self,
        upstream: Address,
        traffic: Traffic,
    ) -> Result<Place, EndpointError> {
        self.generation += 1;
        let route = Route {
            resource: self.id,
            generation: self.generation,
            upstream,
            database: "unused".to_owned(),
            traffic,
        };
        endpoint(&self.world).point(&route).await
    }

    /// Says the last word once more.
    pub(crate) async fn say_again(&self) -> anyhow::Result<Place> {
        let route = Route {
            resource: self.id,
            generation: self.generation,
            upstream: self.upstream().await?,
            database: "unused".to_owned(),
            traffic: Traffic::Open,
        };
        Ok(endpoint(&self.world).point(&route).await?)
    }

    /// That a new client waits, and gets its answer once the route is open again.
    pub(crate) async fn holds_new_clients_until_open(&mut self) -> anyhow::Result<()> {
        let mut client = NewClient::of(self).await?;
        client.waits().await?;
        self.say(Traffic::Open).await?;
        client.served().await
    }

    /// A client of another replica.
    pub(crate) async fn client_of(&self, gateway: &RunningGateway) -> anyhow::Result<PgConnection> {
        let url = self.world.url(self.id).await?;
        let (own, other) = (self.gateway.ports.session, gateway.ports.session);
        let url = url
            .expose()
            .replace(&format!(":{own}/"), &format!(":{other}/"));
        Ok(connect(&Secret::new(url)).await?)
    }

    /// A client of the port for sessions.
    pub(crate) async fn client(&self) -> anyhow::Result<PgConnection> {
        Ok(connect(&self.world.url(self.id).await?).await?)
    }

    /// A client of the port for pooled connections.
    pub(crate) async fn pooled_client(&self) -> anyhow::Result<PgConnection> {
        Ok(connect(&self.world.pooled_url(self.id).await?).await?)
    }
}

/// A protected database behind a gateway, and a follower of it that can be read.
pub(crate) async fn followed() -> anyhow::Result<(Protected, RunningGateway, ResourceId)> {
    let mut protected = Protected::without_worker().await?;
    protected.world.endpoint = "gateway";
    let gateway = protected.world.start_gateway("gateway", None, &[]).await?;
    protected.start_worker().await?;
    protected.make().await?;
    let world = &protected.world;
    let follower = world.follow(protected.id, "reports").await?;
    world.until(follower, ResourceState::Available).await?;
    Ok((protected, gateway, follower))
}

/// What a worker says words to.
pub(crate) fn endpoint(world: &World) -> GatewayEndpoint {
    GatewayEndpoint::new(world.database.pool.clone(), Arc::new(SystemClock))
}

/// Connects as a customer.
pub(crate) async fn connect(url: &Secret) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect(url.expose()).await
}

/// A client that connects and asks something, and may have to wait for it.
struct NewClient(JoinSet<Result<(), sqlx::Error>>);

impl NewClient {
    async fn of(led: &Led) -> anyhow::Result<Self> {
        let url = led.world.url(led.id).await?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut client = connect(&url).await?;
            client.execute("select 1").await.map(drop)
        });
        Ok(Self(task))
    }

    /// That it still waits, after a while.
    async fn waits(&mut self) -> anyhow::Result<()> {
        sleep(A_WHILE).await;
        let ended = self.0.try_join_next();
        ensure!(ended.is_none(), "it does not wait: {ended:?}");
        Ok(())
    }

    /// That it gets its answer.
    async fn served(mut self) -> anyhow::Result<()> {
        let ended = self.0.join_next().await.context("it was asked before")?;
        Ok(ended??)
    }
}

/// Waits until a replica tells a problem that has `part` in it.
pub(crate) async fn until_problem(world: &World, part: &str) -> anyhow::Result<()> {
    until(world, &format!("a problem with {part}"), |gateways| {
        let mut problems = gateways
            .iter()
            .filter_map(|gateway| gateway.problem.as_ref());
        problems.any(|problem| problem.contains(part))
    })
    .await
}

/// Waits until so many replicas are live and have applied everything.
pub(crate) async fn until_live(world: &World, number: usize) -> anyhow::Result<()> {
    until(world, &format!("{number} live"), |gateways| {
        let good = |gateway: &&gateways::Gateway| {
            gateway.live && gateway.behind == 0 && gateway.problem.is_none()
        };
        gateways.iter().filter(good).count() == number
    })
    .await
}

/// Waits until the replicas are as wished.
async fn until(
    world: &World,
    what: &str,
    wished: impl Fn(&[gateways::Gateway]) -> bool,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let found = gateways::all(&world.database.pool).await?;
        if wished(&found) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "not {what}: {found:#?}");
        sleep(LOOK).await;
    }
}

/// Repeats until it succeeds.
pub(crate) async fn until_ok<T, F>(attempt: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let begun = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if begun.elapsed() > PATIENCE => bail!("still fails: {error:#}"),
            Err(_) => sleep(LOOK).await,
        }
    }
}

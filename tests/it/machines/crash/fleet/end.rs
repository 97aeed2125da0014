//! What is left of a story: in the control database, at the provider, on the disk, and inside of
//! PostgreSQL.

use std::collections::BTreeMap;
use std::fs;

use shared::domain::ServerState;
use shared::ids::{ResourceId, ServerId};
use shared::process::processes_in;
use sqlx::PgPool;

use super::play::Play;

/// What is left, in words, without ids, numbers and times.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Name, plan, state, whether it has secrets, a participant, a route, an observation.
    resources: Vec<String>,
    /// Resource, kind, state.
    operations: Vec<String>,
    /// Plan, state, states of the participants, and what is on the machine.
    servers: Vec<(String, OnMachine)>,
    /// What the provider has.
    machines: usize,
    /// Directories where servers are.
    homes: usize,
    jobs: Vec<String>,
    alerts: Vec<String>,
    /// What each customer sees.
    customers: BTreeMap<&'static str, Inside>,
}

/// What is on the machine of one server.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OnMachine {
    /// Agents that were started for it.
    agents: usize,
    /// It has a data directory.
    data: bool,
    /// Processes of PostgreSQL run in it.
    postgres: bool,
}

/// What a customer sees of the server.
#[derive(Debug, PartialEq, Eq)]
struct Inside {
    /// Rows that were written in the beginning.
    rows: i64,
    /// Databases, by the name of their resource.
    databases: Vec<String>,
    /// Roles, by the name of their resource.
    roles: Vec<String>,
}

/// How much is not as it was wished.
pub(super) async fn unfinished(pool: &PgPool) -> anyhow::Result<i64> {
    let query = "
        select
            (select count(*) from resources where state not in ('available', 'deprovisioned')
                or (state = 'available' and destroy_requested_at is not null)
                or endpoint_generation <> endpoint_acknowledged_generation)
            + (select count(*) from servers where state not in ('ready', 'terminated')
                or (state = 'ready' and destroy_requested_at is not null))
            + (select count(*) from participants where state not in ('serving', 'removed')
                or (state = 'serving' and generation <> acknowledged_generation))
            + (select count(*) from jobs)
            + (select count(*) from alerts where cleared_at is null)";
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

/// Looks at everything.
pub(super) async fn see(play: &Play<'_>) -> anyhow::Result<End> {
    let pool = &play.fleet.world.database.pool;
    let lines =
        async |query: &'static str| sqlx::query_scalar::<_, String>(query).fetch_all(pool).await;
    Ok(End {
        resources: lines(
            "select concat_ws(' ', name, plan, state, password is not null,
                 participant_id is not null, endpoint_host is not null,
                 observations.resource_id is not null)
             from resources left join observations on observations.resource_id = resources.id
             order by name",
        )
        .await?,
        operations: lines(
            "select concat_ws(' ', resources.name, operations.kind, operations.state, error)
             from operations join resources on resources.id = operations.resource_id order by 1",
        )
        .await?,
        servers: servers(play).await?,
        machines: play.fleet.machines().await?.len(),
        homes: fs::read_dir(play.fleet.servers())?.count(),
        jobs: lines("select concat_ws(' ', kind, state) from jobs order by 1").await?,
        alerts: lines("select name from alerts where cleared_at is null order by 1").await?,
        customers: customers(play).await?,
    })
}

async fn servers(play: &Play<'_>) -> anyhow::Result<Vec<(String, OnMachine)>> {
    let query = "
        select servers.id, concat_ws(' ', plan, servers.state, (
            select string_agg(participants.state, ',' order by participants.state)
            from participants where participants.server_id = servers.id
        ))
        from servers";
    let rows: Vec<(uuid::Uuid, String)> = sqlx::query_as(query)
        .fetch_all(&play.fleet.world.database.pool)
        .await?;
    let mut servers = Vec::new();
    for (id, line) in rows {
        let server = ServerId::from_uuid(id);
        let data = play.fleet.world.data_directory(server);
        let on_machine = OnMachine {
            agents: agents_of(server),
            data: data.exists(),
            postgres: !processes_in(&data)?.is_empty(),
        };
        servers.push((line, on_machine));
    }
    servers.sort();
    Ok(servers)
}

/// Processes that were told to be the agent of a server.
fn agents_of(server: ServerId) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let told = format!("--server-id\0{server}\0");
    processes
        .flatten()
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .filter(|arguments| String::from_utf8_lossy(arguments).contains(&told))
        .count()
}

/// What the customers of living resources see.
async fn customers(play: &Play<'_>) -> anyhow::Result<BTreeMap<&'static str, Inside>> {
    let pool = &play.fleet.world.database.pool;
    let names: Vec<(String, String)> = sqlx::query_as(
        "select name, database_name from resources union select name, role_name from resources",
    )
    .fetch_all(pool)
    .await?;
    let names: BTreeMap<_, _> = names
        .into_iter()
        .map(|(name, known)| (known, name))
        .collect();
    let mut customers = BTreeMap::new();
    for (name, id) in living(play).await? {
        let mut customer = play.fleet.world.connect(id).await?;
        let rows = sqlx::query_scalar("select count(*) from orders where id = 7")
            .fetch_one(&mut customer)
            .await?;
        let databases = sqlx::query_scalar("select datname::text from pg_database")
            .fetch_all(&mut customer)
            .await?;
        let roles = "select rolname::text from pg_roles where rolname !~ '^pg_'";
        let roles = sqlx::query_scalar(roles).fetch_all(&mut customer).await?;
        let inside = Inside {
            rows,
            databases: by_resource(&names, databases),
            roles: by_resource(&names, roles),
        };
        customers.insert(name, inside);
    }
    Ok(customers)
}

async fn living(play: &Play<'_>) -> anyhow::Result<Vec<(&'static str, ResourceId)>> {
    let mut living = Vec::new();
    for (name, id) in &play.names {
        let row = play.fleet.world.row(*id).await?;
        if row
            .base
            .is_some_and(|base| base.server_state == ServerState::Ready)
        {
            living.push((*name, *id));
        }
    }
    Ok(living)
}

fn by_resource(names: &BTreeMap<String, String>, found: Vec<String>) -> Vec<String> {
    let mut found: Vec<_> = found
        .into_iter()
        .map(|found| names.get(&found).cloned().unwrap_or(found))
        .collect();
    found.sort();
    found
}

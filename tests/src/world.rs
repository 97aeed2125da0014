//! A whole control plane for one test: control database, Redis, workers and agents as processes,
//! and real PostgreSQL. All of it is gone when the test is.

mod customers;
mod gateways;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use shared::agent_api::DATA_DIRECTORY;
use shared::archive::plan::Target;
use shared::clock::{Clock as _, SystemClock};
use shared::db::fleet::{ResourceRow, load_resources};
use shared::db::resources::create::{Copying, NewFork, NewResource, create};
use shared::db::resources::destroy::{DestroyRequest, request_destroy};
use shared::db::resources::unfollow::{UnfollowRequest, request_unfollow};
use shared::domain::{ResourceName, ResourceState, TokenScope};
use shared::ids::{OperationId, RequestId, ResourceId, ServerId, TokenId};
use shared::process::{
    Account, DeathSignal, Launched, Lifetime, Program, RunningProcess, Signal, free_port,
    processes_in, tail_of,
};
use shared::queue::{Member, MemberKind, Queue, QueueConfig, Ring};
use shared::secret::Vault;
use tokio::time::{Instant, sleep};
use workers::service::WorkerOptions;

use crate::control_database::ControlDatabase;
use crate::redis_server::RedisServer;

pub use customers::write;
pub use gateways::{GatewayPorts, RunningGateway};

/// Longest wait for anything: a test fails only when something is really stuck.
pub const PATIENCE: Duration = Duration::from_mins(4);

/// Time between two looks while waiting.
const LOOK: Duration = Duration::from_millis(50);

/// The control plane and its fleet.
pub struct World {
    /// The control database.
    pub database: ControlDatabase,
    /// Redis.
    pub redis: RedisServer,
    /// The queue in it.
    pub queue: Queue,
    /// Opens stored secrets.
    pub vault: Vault,
    /// How customers reach their databases, for workers that are started later: `direct` unless a test
    /// says `gateway`.
    pub endpoint: &'static str,
    token: TokenId,
    directory: PathBuf,
    workers: Vec<Launched>,
}

impl World {
    /// Control database and Redis, and no worker yet.
    pub async fn without_workers() -> anyhow::Result<Self> {
        let (database, redis) = tokio::try_join!(ControlDatabase::start(), RedisServer::start())?;
        let directory = tempfile::Builder::new()
            .prefix("ringmaster-world-")
            .tempdir()?
            .keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        let key = Vault::random_key();
        fs::write(directory.join("key"), key.expose())?;
        fs::set_permissions(directory.join("key"), fs::Permissions::from_mode(0o600))?;
        let (token, _) = database.token(TokenScope::Admin, SystemClock.now()).await?;
        Ok(Self {
            queue: Queue::connect(QueueConfig::single(redis.url())?).await?,
            vault: Vault::from_base64(&key)?,
            endpoint: "direct",
            database,
            redis,
            token,
            directory,
            workers: Vec::new(),
        })
    }

    /// The same with one worker.
    pub async fn start() -> anyhow::Result<Self> {
        let mut world = Self::without_workers().await?;
        world.start_worker(&[]).await?;
        Ok(world)
    }

    /// Starts one more worker, with these variables in its environment beside the usual ones.
    pub async fn start_worker(&mut self, variables: &[(&str, &str)]) -> anyhow::Result<usize> {
        let built = built()?;
        let number = self.workers.len();
        let mut program = Program::new(built.join("worker_under_test"), &Account::current())
            .env("RINGMASTER_DATABASE_URL", self.database.url().expose())
            .env("RINGMASTER_REDIS_URL", self.redis.url())
            .env("RINGMASTER_ENCRYPTION_KEY_FILE", self.directory.join("key"))
            .env("RINGMASTER_LOCAL_ROOT", self.servers())
            .env("RINGMASTER_AGENT_BINARY", built.join("agent_under_test"))
            .env("RINGMASTER_SUPERVISOR_PID", std::process::id().to_string())
            .env("RINGMASTER_ENDPOINT", self.endpoint)
            .env("RINGMASTER_LOG", "info,workers=debug");
        for (name, value) in variables {
            program = program.env(name, value);
        }
        let log = self.directory.join(format!("worker-{number}.log"));
        let lifetime = Lifetime::DiesWithUs(DeathSignal::Kill);
        self.workers.push(program.launch(lifetime, &log).await?);
        Ok(number)
    }

    /// Options of a worker that runs in this process.
    pub fn worker_options(&self) -> anyhow::Result<WorkerOptions> {
        let text = |path: PathBuf| path.into_os_string();
        Ok(WorkerOptions::try_parse_from([
            "ringmaster-worker".into(),
            "--database-url".into(),
            self.database.url().expose().into(),
            "--redis-url".into(),
            self.redis.url().into(),
            "--encryption-key-file".into(),
            text(self.directory.join("key")),
            format!("--endpoint={}", self.endpoint).into(),
            "--local-root".into(),
            text(self.servers()),
            "--agent-binary".into(),
            text(built()?.join("agent_under_test")),
            "--supervisor-pid".into(),
            OsString::from(std::process::id().to_string()),
        ])?)
    }

    /// A worker, to send signals to.
    pub fn worker(&self, number: usize) -> &RunningProcess {
        self.workers[number].process()
    }

    /// Kills a worker and waits until it is gone.
    pub async fn kill_worker(&mut self, number: usize) -> anyhow::Result<()> {
        self.workers[number].process().signal(Signal::KILL)?;
        self.workers[number].wait().await?;
        Ok(())
    }

    /// Directory of all servers.
    pub fn servers(&self) -> PathBuf {
        self.directory.join("servers")
    }

    /// Asks for a resource, as the API does, without waking anybody.
    pub async fn intend(&self, name: &str, plan: &str) -> anyhow::Result<ResourceId> {
        self.intend_with(name, plan, None).await
    }

    async fn intend_with(
        &self,
        name: &str,
        plan: &str,
        fork: Option<NewFork>,
    ) -> anyhow::Result<ResourceId> {
        let (id, name): (_, ResourceName) = (ResourceId::new(), name.parse()?);
        let now = SystemClock.now();
        let new = NewResource {
            id,
            operation_id: OperationId::new(),
            name: &name,
            plan,
            fork,
            deadline_at: now + chrono::TimeDelta::minutes(10),
            token_id: self.token,
            key: None,
            request_id: RequestId::new(),
            now,
        };
        create(&self.database.pool, &new).await?;
        Ok(id)
    }

    /// Asks for a resource and wakes its job, as the API does.
    pub async fn create(&self, name: &str, plan: &str) -> anyhow::Result<ResourceId> {
        let id = self.intend(name, plan).await?;
        self.wake_new(id).await?;
        Ok(id)
    }

    /// Asks for a copy of `parent` and wakes its job, as the API does.
    pub async fn fork(
        &self,
        parent: ResourceId,
        name: &str,
        target: Target,
    ) -> anyhow::Result<ResourceId> {
        self.copy("standard", (parent, name), Copying::Once(target))
            .await
    }

    /// Asks for a follower of `parent` and wakes its job, as the API does.
    pub async fn follow(&self, parent: ResourceId, name: &str) -> anyhow::Result<ResourceId> {
        self.copy("standard", (parent, name), Copying::Following)
            .await
    }

    /// Asks for a copy on a plan and wakes its job, as the API does.
    pub async fn copy(
        &self,
        plan: &str,
        (parent, name): (ResourceId, &str),
        copying: Copying,
    ) -> anyhow::Result<ResourceId> {
        let fork = Some(NewFork { parent, copying });
        let id = self.intend_with(name, plan, fork).await?;
        self.wake_new(id).await?;
        Ok(id)
    }

    /// Asks for the end of following and wakes its job, as the API does.
    pub async fn unfollow(&self, id: ResourceId) -> anyhow::Result<OperationId> {
        let operation_id = OperationId::new();
        let request = UnfollowRequest {
            resource_id: id,
            operation_id,
            token_id: self.token,
            request_id: RequestId::new(),
            now: SystemClock.now(),
        };
        let mut transaction = self.database.pool.begin().await?;
        let operation = request_unfollow(&mut transaction, &request).await?;
        transaction.commit().await?;
        let member = Member {
            kind: MemberKind::CatchUp,
            id: id.as_uuid(),
        };
        self.queue.wake(Ring::Jobs, member).await?;
        Ok(operation.id)
    }

    async fn wake_new(&self, id: ResourceId) -> anyhow::Result<()> {
        let member = Member {
            kind: MemberKind::Provision,
            id: id.as_uuid(),
        };
        self.queue.wake(Ring::Jobs, member).await?;
        let member = Member {
            kind: MemberKind::Resource,
            id: id.as_uuid(),
        };
        self.queue.wake(Ring::Ring, member).await?;
        Ok(())
    }

    /// Asks for the end of a resource and wakes its job.
    pub async fn destroy(&self, id: ResourceId) -> anyhow::Result<()> {
        let request = DestroyRequest {
            resource_id: id,
            operation_id: OperationId::new(),
            token_id: self.token,
            request_id: RequestId::new(),
            now: SystemClock.now(),
        };
        let mut transaction = self.database.pool.begin().await?;
        request_destroy(&mut transaction, &request).await?;
        transaction.commit().await?;
        let member = Member {
            kind: MemberKind::Resource,
            id: id.as_uuid(),
        };
        self.queue.wake(Ring::Ring, member).await?;
        Ok(())
    }

    /// The resource with what it stands on.
    pub async fn row(&self, id: ResourceId) -> anyhow::Result<ResourceRow> {
        let rows = load_resources(&self.database.pool, &[id]).await?;
        rows.into_iter().next().context("the resource has a row")
    }

    /// Waits until the resource is in `state`.
    pub async fn until(&self, id: ResourceId, state: ResourceState) -> anyhow::Result<ResourceRow> {
        self.until_row(id, state.as_str(), |row| row.state == state)
            .await
    }

    /// Waits until its row is as wished; `what` says how, for the failure.
    pub async fn until_row(
        &self,
        id: ResourceId,
        what: &str,
        wished: impl Fn(&ResourceRow) -> bool,
    ) -> anyhow::Result<ResourceRow> {
        let begun = Instant::now();
        loop {
            let row = self.row(id).await?;
            if wished(&row) {
                return Ok(row);
            }
            if begun.elapsed() > PATIENCE {
                bail!("{id} is not {what}: {row:#?}\n{}", self.story(id).await?);
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until the events of the resource hold `event`, `times` times.
    pub async fn until_event(
        &self,
        id: ResourceId,
        event: &str,
        times: usize,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let events = self.events(id).await?;
            if events.iter().filter(|seen| *seen == event).count() >= times {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("{id} has no {times} {event}\n{}", self.story(id).await?);
            }
            sleep(LOOK).await;
        }
    }

    /// Names of the recorded events of the resource, its participant and its server, in order.
    pub async fn events(&self, id: ResourceId) -> anyhow::Result<Vec<String>> {
        let query = "select event from transitions where resource_id = $1 order by id";
        Ok(sqlx::query_scalar(query)
            .bind(id.as_uuid())
            .fetch_all(&self.database.pool)
            .await?)
    }

    /// What happened, for a test that fails.
    pub async fn story(&self, id: ResourceId) -> anyhow::Result<String> {
        let query = "select concat_ws(' ', at, machine, from_state, event, to_state, detail)
                     from transitions order by id";
        let lines: Vec<String> = sqlx::query_scalar(query)
            .fetch_all(&self.database.pool)
            .await?;
        let jobs = "select concat_ws(' ', kind, subject_id, state, attempts, last_error) from jobs";
        let jobs: Vec<String> = sqlx::query_scalar(jobs)
            .fetch_all(&self.database.pool)
            .await?;
        let logs: Vec<String> = (0..self.workers.len())
            .map(|number| tail_of(&self.directory.join(format!("worker-{number}.log"))))
            .collect();
        let row = self.row(id).await?;
        let agent = row
            .base
            .map(|base| tail_of(&self.home(base.server).join("agent.log")));
        Ok(format!(
            "transitions:\n{}\njobs:\n{}\nworkers:\n{}\nagent:\n{}",
            lines.join("\n"),
            jobs.join("\n"),
            logs.join("\n"),
            agent.unwrap_or_default(),
        ))
    }

    /// Every log of workers, and what is left of those of servers.
    pub fn logs(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut logs = Vec::new();
        let mut directories = vec![self.directory.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "log") {
                    logs.push(path);
                }
            }
        }
        Ok(logs)
    }

    /// Directory of one server.
    pub fn home(&self, server: ServerId) -> PathBuf {
        self.servers().join(server.to_string())
    }

    /// PostgreSQL's data directory on a server.
    pub fn data_directory(&self, server: ServerId) -> PathBuf {
        self.home(server).join("agent").join(DATA_DIRECTORY)
    }

    /// The agent of a server.
    pub fn agent(&self, server: ServerId) -> anyhow::Result<RunningProcess> {
        let text = fs::read(self.home(server).join("agent.pid"))?;
        let noted: serde_json::Value = serde_json::from_slice(&text)?;
        let pid = noted["pid"].as_u64().context("the file has a pid")?;
        Ok(RunningProcess::open(u32::try_from(pid)?)?)
    }

    /// The postmaster of a server.
    pub fn postmaster(&self, server: ServerId) -> anyhow::Result<RunningProcess> {
        let file = self.data_directory(server).join("postmaster.pid");
        let text = fs::read_to_string(file)?;
        let pid = text.lines().next().context("the file has a pid")?;
        Ok(RunningProcess::open(pid.trim().parse()?)?)
    }

    /// A port that nobody listens on.
    pub fn free_port() -> anyhow::Result<u16> {
        Ok(free_port()?)
    }

    fn end(&mut self) -> anyhow::Result<()> {
        for worker in &self.workers {
            worker.process().signal(Signal::KILL)?;
        }
        let Ok(homes) = fs::read_dir(self.servers()) else {
            return Ok(());
        };
        for home in homes.flatten() {
            let Ok(server) = home.file_name().to_string_lossy().parse::<ServerId>() else {
                continue;
            };
            if let Ok(agent) = self.agent(server) {
                agent.signal(Signal::KILL)?;
            }
            for process in processes_in(&self.data_directory(server))? {
                process.signal(Signal::KILL)?;
            }
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A failure here must not hide the failure of the test; what is left dies with us.
        drop(self.end());
        if !std::thread::panicking() {
            drop(fs::remove_dir_all(&self.directory));
        }
    }
}

/// Directory of the programs that were built with this test.
pub fn built() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let directory = test.parent().and_then(Path::parent);
    Ok(directory.context("find what was built")?.to_owned())
}

//! A whole Ringmaster: the API, a worker and an object store as processes, and databases that they
//! have made, each with an agent and a PostgreSQL.

mod control;
mod customer;

pub(crate) use control::{Control, archive_variables};
pub(crate) use customer::{Customer, flush_lsn};

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::agent_api::PROBER_ROLE;
use shared::db::fleet::load_resources;
use shared::domain::{BackupState, DatabaseUrl, OperationState, ResourceState};
use shared::http_api::{Backup, Operation, Page, Resource, ResourceDetail, ResourceUrl};
use shared::ids::ResourceId;
use shared::ports::Provider as _;
use shared::process::{Launched, Signal, free_port, tail_of, until_tcp_answers};
use shared::secret::Secret;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use workers::cloud::{LocalOptions, LocalProvider};

use crate::archiving::{Programs, Store};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(10);

/// Time between two looks while waiting for something that is not measured.
const LOOK: Duration = Duration::from_millis(200);

/// A running system; it ends with us.
pub(crate) struct System {
    pub(crate) control: Control,
    pub(crate) store: Store,
    worker: Launched,
    api: Launched,
    http: reqwest::Client,
    /// Where the API answers, without a slash at the end.
    api_url: String,
    token: Secret,
    provider: LocalProvider,
}

impl System {
    /// Starts everything, with no database yet.
    pub(crate) async fn start(programs: &Programs) -> anyhow::Result<Self> {
        // One provider for the whole process; another part may have been quicker.
        drop(rustls::crypto::ring::default_provider().install_default());
        let (control, store) = (Control::start().await?, programs.store().await?);
        let provider = LocalProvider::new(LocalOptions {
            root: control.servers(),
            agent_binary: programs.agent()?,
            supervisor_pid: Some(std::process::id()),
            postgres_bin_dirs: Vec::new(),
        });
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let variables = [("RINGMASTER_LISTEN".to_owned(), listen.clone())];
        let mut api = control.launch("api", &programs.api()?, &variables).await?;
        until_tcp_answers(&mut api, port, PATIENCE)
            .await
            .context("wait for the API")?;
        let mut variables = archive_variables(store.address, &store.secret);
        let agent = programs.agent()?.display().to_string();
        variables.push(("RINGMASTER_AGENT_BINARY".to_owned(), agent));
        let program = programs.worker()?;
        let worker = control.launch("worker", &program, &variables).await?;
        Ok(Self {
            worker,
            token: control.token().await?,
            control,
            store,
            api,
            http: reqwest::Client::builder().no_proxy().build()?,
            api_url: format!("http://{listen}"),
            provider,
        })
    }

    /// Has a database made, and waits until it is there.
    pub(crate) async fn create(&self, name: &str, plan: &str) -> anyhow::Result<Customer> {
        let body = json!({ "name": name, "plan": plan });
        let operation: Operation = self.post("/v1/resources", &body).await?;
        self.until_succeeded(operation).await?;
        self.customer(name).await
    }

    /// How the customer of a database that is there reaches it.
    pub(crate) async fn customer(&self, name: &str) -> anyhow::Result<Customer> {
        let Resource { id, .. } = self.detail(name).await?.resource;
        let url: ResourceUrl = self.get(&format!("/v1/resources/{name}/url")).await?;
        let query = "select participants.timeline_id
                     from resources
                     join participants on participants.id = resources.participant_id
                     where resources.id = $1";
        let timeline = sqlx::query_scalar(query)
            .bind(id)
            .fetch_one(&self.control.pool)
            .await
            .context("read the timeline of a database")?;
        Ok(Customer {
            id,
            timeline,
            url: url.url,
        })
    }

    /// Lets databases be made with a plan that is not offered yet.
    pub(crate) async fn offer(&self, plan: &str) -> anyhow::Result<()> {
        sqlx::query("update plans set offered = true where name = $1")
            .bind(plan)
            .execute(&self.control.pool)
            .await
            .context("offer a plan")?;
        Ok(())
    }

    /// A connection to a database as we have it, and not its customer.
    pub(crate) async fn operator(&self, customer: &Customer) -> anyhow::Result<PgConnection> {
        let rows = load_resources(&self.control.pool, &[customer.id]).await?;
        let row = rows.into_iter().next().context("the database has a row")?;
        let base = row.base.context("it is placed")?;
        let address = base.postgres.context("it has an address")?;
        let context = format!("participant/{}/prober-password", base.participant);
        let url = DatabaseUrl {
            role: PROBER_ROLE,
            password: &self.control.vault.open(&context, &base.prober_password)?,
            host: &address.host,
            port: address.port,
            database: &row.database_name,
        };
        Ok(PgConnection::connect(url.to_secret().expose()).await?)
    }

    /// What the API says of a database.
    pub(crate) async fn detail(&self, name: &str) -> anyhow::Result<ResourceDetail> {
        self.get(&format!("/v1/resources/{name}")).await
    }

    /// Waits until a database has a base backup and none is under way.
    pub(crate) async fn until_backed_up(&self, name: &str) -> anyhow::Result<()> {
        let path = format!("/v1/resources/{name}/backups");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page: Page<Backup> = self.get(&path).await?;
            let mut states = page.data.iter().map(|backup| backup.state);
            if !page.data.is_empty() && states.all(|state| state == BackupState::Finished) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no backup: {}", self.log());
            sleep(LOOK).await;
        }
    }

    /// Waits for the end of something that was asked for.
    pub(crate) async fn until_succeeded(&self, operation: Operation) -> anyhow::Result<()> {
        let path = format!("/v1/operations/{}", operation.id);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now: Operation = self.get(&path).await?;
            match now.state {
                OperationState::Succeeded => return Ok(()),
                OperationState::Pending if Instant::now() < deadline => sleep(LOOK).await,
                OperationState::Pending | OperationState::Failed => {
                    bail!("{now:?}: {}", self.log())
                }
            }
        }
    }

    /// Ends a database, and waits until it is gone.
    pub(crate) async fn destroy(&self, name: &str, id: ResourceId) -> anyhow::Result<()> {
        let url = format!("{}/v1/resources/{name}", self.api_url);
        self.send(self.http.delete(url)).await?;
        let deadline = Instant::now() + PATIENCE;
        while self.state(id).await? != Some(ResourceState::Deprovisioned) {
            ensure!(Instant::now() < deadline, "it stays: {}", self.log());
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn state(&self, id: ResourceId) -> anyhow::Result<Option<ResourceState>> {
        let rows = load_resources(&self.control.pool, &[id]).await?;
        Ok(rows.first().map(|row| row.state))
    }

    /// `GET` of the API.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let request = self.http.get(format!("{}{path}", self.api_url));
        Ok(serde_json::from_str(&self.send(request).await?)?)
    }

    /// `POST` to the API.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<T> {
        let request = self.http.post(format!("{}{path}", self.api_url)).json(body);
        Ok(serde_json::from_str(&self.send(request).await?)?)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<String> {
        let request = request.bearer_auth(self.token.expose());
        let answer = request.send().await.context("ask the API")?;
        let (status, path) = (answer.status(), answer.url().path().to_owned());
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path} was answered {status}: {text}");
        Ok(text)
    }

    /// What the worker logged last.
    pub(crate) fn log(&self) -> String {
        tail_of(self.worker.log())
    }

    /// Ends everything, with the data of all databases.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for process in [&mut self.worker, &mut self.api] {
            process.process().signal(Signal::TERM)?;
            process.wait().await?;
        }
        let query = "select id from servers where state <> 'terminated'";
        let servers = sqlx::query_scalar(query)
            .fetch_all(&self.control.pool)
            .await?;
        let mut ending = JoinSet::new();
        for server in servers {
            let provider = self.provider.clone();
            ending.spawn(async move { provider.destroy(server).await });
        }
        while let Some(ended) = ending.join_next().await {
            ended.context("end a server")??;
        }
        self.store.stop().await?;
        self.control.stop().await
    }
}

//! How customers reach their databases.

use anyhow::Context as _;
use shared::agent_api::PROBER_ROLE;
use shared::db::resources::{Credentials, credentials};
use shared::domain::DatabaseUrl;
use shared::ids::ResourceId;
use shared::secret::Secret;
use sqlx::{Connection as _, PgConnection};

use super::World;

impl World {
    /// Connects as the customer.
    pub async fn connect(&self, id: ResourceId) -> anyhow::Result<PgConnection> {
        let url = self.url(id).await?;
        Ok(PgConnection::connect(url.expose()).await?)
    }

    /// Connects to the database of a customer as we do.
    pub async fn connect_as_operator(&self, id: ResourceId) -> anyhow::Result<PgConnection> {
        let row = self.row(id).await?;
        let base = row.base.context("it is placed")?;
        let address = base.postgres.context("it has an address")?;
        let context = format!("participant/{}/prober-password", base.participant);
        let url = DatabaseUrl {
            role: PROBER_ROLE,
            password: &self.vault.open(&context, &base.prober_password)?,
            host: &address.host,
            port: address.port,
            database: &row.database_name,
        };
        Ok(PgConnection::connect(url.to_secret().expose()).await?)
    }

    /// The password of the customer.
    pub async fn password(&self, id: ResourceId) -> anyhow::Result<Secret> {
        let query = "select password from resources where id = $1";
        let sealed: Vec<u8> = sqlx::query_scalar(query)
            .bind(id.as_uuid())
            .fetch_one(&self.database.pool)
            .await?;
        Ok(self
            .vault
            .open(&format!("resource/{id}/password"), &sealed)?)
    }

    /// The URL of the customer.
    pub async fn url(&self, id: ResourceId) -> anyhow::Result<Secret> {
        self.url_at(id, |stored| Some(stored.endpoint_port)).await
    }

    /// The same for pooled connections.
    pub async fn pooled_url(&self, id: ResourceId) -> anyhow::Result<Secret> {
        self.url_at(id, |stored| stored.endpoint_pooled_port).await
    }

    async fn url_at(
        &self,
        id: ResourceId,
        port: impl Fn(&Credentials) -> Option<i32>,
    ) -> anyhow::Result<Secret> {
        let stored = credentials(&self.database.pool, id).await?;
        let stored = stored.context("the resource has an endpoint")?;
        let url = DatabaseUrl {
            role: &stored.role_name,
            password: &self.password(id).await?,
            host: &stored.endpoint_host,
            port: u16::try_from(port(&stored).context("it has such a port")?)?,
            database: &stored.endpoint_database,
        };
        Ok(url.to_secret())
    }
}

/// Writes about so many megabytes of WAL that do not compress.
pub async fn write(customer: &mut PgConnection, megabytes: i32) -> anyhow::Result<()> {
    sqlx::query("create table if not exists notes (text text)")
        .execute(&mut *customer)
        .await?;
    // A random UUID is 36 bytes; with the headers of row and record about 120 bytes of WAL.
    sqlx::query("insert into notes select gen_random_uuid() from generate_series(1, $1 * 9000)")
        .bind(megabytes)
        .execute(customer)
        .await?;
    Ok(())
}

//! A control database for one test: a PostgreSQL of its own, with every migration applied.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use shared::db::{self, ConnectOptions};
use shared::domain::TokenScope;
use shared::ids::TokenId;
use shared::secret::Secret;
use sqlx::PgPool;

use crate::postgres_server::PostgresServer;

/// A migrated control database. Dropping it ends its server and removes its data.
#[derive(Debug)]
pub struct ControlDatabase {
    /// Connections to it.
    pub pool: PgPool,
    server: PostgresServer,
    url: Secret,
}

impl ControlDatabase {
    /// Starts a server and applies every migration to an empty database.
    pub async fn start() -> anyhow::Result<Self> {
        let database = Self::start_empty().await?;
        db::migrate(&database.pool).await?;
        Ok(database)
    }

    /// Starts a server with an empty database.
    pub async fn start_empty() -> anyhow::Result<Self> {
        let server = PostgresServer::start().await.context("start PostgreSQL")?;
        let url = Secret::new(server.create_database("ringmaster_control").await?);
        let pool = db::connect(&url, &Self::options()).await?;
        Ok(Self { pool, server, url })
    }

    /// Patient with a busy machine.
    pub fn options() -> ConnectOptions {
        ConnectOptions {
            acquire_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(20),
            ..ConnectOptions::of("tests")
        }
    }

    /// Its connection URL.
    pub fn url(&self) -> &Secret {
        &self.url
    }

    /// The server it is on, to be stopped and started again.
    pub fn server_mut(&mut self) -> &mut PostgresServer {
        &mut self.server
    }

    /// Stores a new token that is good for a day from `now`, and gives it.
    pub async fn token(
        &self,
        scope: TokenScope,
        now: DateTime<Utc>,
    ) -> anyhow::Result<(TokenId, Secret)> {
        let secret = Secret::random();
        let new = db::tokens::NewToken {
            id: TokenId::new(),
            name: scope.as_str(),
            hash: secret.sha256(),
            scope,
            now,
            expires_at: now + chrono::Duration::days(1),
        };
        anyhow::ensure!(
            db::tokens::create(&self.pool, &new).await?,
            "the token is not new"
        );
        Ok((new.id, secret))
    }

    /// Rows of each table, to see that a refused request changed nothing.
    pub async fn row_counts(&self) -> anyhow::Result<Vec<(String, i64)>> {
        let counts = sqlx::query_as(
            "select c.relname::text, (xpath('/row/n/text()', query_to_xml(
                 format('select count(*) as n from %I', c.relname), false, true, '')))[1]::text::bigint
             from pg_class c
             where c.relkind in ('r', 'p') and not c.relispartition
                 and c.relnamespace = 'public'::regnamespace
             order by c.relname",
        );
        Ok(counts.fetch_all(&self.pool).await?)
    }
}

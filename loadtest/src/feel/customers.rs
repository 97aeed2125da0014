//! Databases with tables in them, and the control database.

use std::sync::Arc;

use anyhow::Context as _;
use shared::db::{self, ConnectOptions};
use shared::ids::{ParticipantId, ResourceId};
use sqlx::PgPool;
use workers::observe::Target;

use super::postgres::Server;

/// Rows in each table.
const ROWS: usize = 20;

/// All databases that are felt, on one server.
pub(super) struct Customers {
    pub(super) server: Server,
    pub(super) control_pool: PgPool,
    control: Server,
    count: usize,
}

impl Customers {
    /// Makes `count` databases of `tables` tables.
    pub(super) async fn create(count: usize, tables: usize) -> anyhow::Result<Self> {
        let control = Server::start().await?;
        control
            .connect("postgres")
            .await?
            .run("create database control")
            .await?;
        let control_pool = db::connect(&control.url("control"), &ConnectOptions::of("loadtest"))
            .await
            .context("connect to the control database")?;
        db::migrate(&control_pool).await?;
        let server = Server::start().await?;
        let admin = server.connect("postgres").await?;
        admin.run("create database template_shop").await?;
        server
            .connect("template_shop")
            .await?
            .run(&fill(tables))
            .await?;
        for number in 0..count {
            let name = database(number);
            admin.run(&format!("create role {name} login")).await?;
            let sql = format!("create database {name} owner {name} template template_shop");
            admin.run(&sql).await?;
        }
        Ok(Self {
            server,
            control_pool,
            control,
            count,
        })
    }

    /// All databases: each as if it had a server of its own, or as neighbours on a shared one.
    pub(super) fn targets(&self, shared: bool) -> Vec<Target> {
        let together = ParticipantId::new();
        let ca_pem: Arc<str> = self.server.ca_pem.as_str().into();
        (0..self.count)
            .map(|number| Target {
                resource: ResourceId::new(),
                participant: if shared {
                    together
                } else {
                    ParticipantId::new()
                },
                host: "127.0.0.1".to_owned(),
                port: self.server.port,
                server_name: self.server.name.clone(),
                ca_pem: Arc::clone(&ca_pem),
                prober_password: self.server.password.clone(),
                database: database(number),
                customer_role: database(number),
                connection_limit: 100,
                shared,
            })
            .collect()
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.control_pool.close().await;
        self.server.stop().await?;
        self.control.stop().await
    }
}

fn database(number: usize) -> String {
    format!("shop_{number}")
}

fn fill(tables: usize) -> String {
    format!(
        "do $$ begin for n in 1..{tables} loop
            execute format('create table t%s (id int primary key, body text)', n);
            execute format('insert into t%s select g, md5(g::text)
                from generate_series(1, {ROWS}) g', n);
        end loop; end $$; analyze"
    )
}

//! `ringmaster servers`.

use clap::Args;
use shared::http_api::Server;

use super::Context;
use crate::failure::Failure;
use crate::format::{ago, or_dash, render, table};
use crate::screen::{note, say, say_json};

/// Arguments of `servers`.
#[derive(Debug, Args)]
pub struct Servers {}

impl Servers {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let servers: Vec<Server> = context.client.all(&["servers"], &[]).await?;
        if context.json {
            return say_json(&servers);
        }
        if servers.is_empty() {
            note("there is no server; the first database makes one");
            return Ok(());
        }
        let mut table = table(&[
            "ID",
            "PLAN",
            "STATE",
            "DATABASES",
            "POSTGRES",
            "CRASHES",
            "ADDRESS",
            "SEEN",
            "PROBLEM",
        ]);
        for server in servers {
            table.add_row(row(server));
        }
        say(render(&table))
    }
}

fn row(server: Server) -> [String; 9] {
    let participant = server.participant.as_ref();
    let postgres =
        participant.map(|postgres| format!("{} {}", postgres.postgres_major, postgres.state));
    let address = server.host.zip(server.postgres_port);
    let problem = server
        .problem
        .or_else(|| participant.and_then(|postgres| postgres.problem.clone()));
    [
        server.id.to_string(),
        server.plan,
        server.state.to_string(),
        server.resources.to_string(),
        or_dash(postgres),
        or_dash(participant.map(|postgres| postgres.crashes)),
        or_dash(address.map(|(host, port)| format!("{host}:{port}"))),
        or_dash(server.last_seen_at.map(ago)),
        problem.unwrap_or_default(),
    ]
}

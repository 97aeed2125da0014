//! `ringmaster list`.

use clap::Args;
use shared::http_api::Resource;

use super::Context;
use crate::failure::Failure;
use crate::format::{ago, or_dash, render, table};
use crate::screen::{note, say, say_json};

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct List {}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let resources: Vec<Resource> = context.client.all(&["resources"], &[]).await?;
        if context.json {
            return say_json(&resources);
        }
        if resources.is_empty() {
            note("there is no database yet; make one with: ringmaster create NAME --wait");
            return Ok(());
        }
        let mut table = table(&["NAME", "PLAN", "STATE", "SINCE", "POSTGRES", "PROBLEM"]);
        for resource in resources {
            table.add_row([
                resource.name,
                resource.plan,
                resource.state.to_string(),
                ago(resource.state_since),
                or_dash(resource.postgres_major),
                resource.problem.unwrap_or_default(),
            ]);
        }
        say(render(&table))
    }
}

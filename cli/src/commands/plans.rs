//! `ringmaster plans`.

use clap::Args;
use shared::http_api::Plan;

use super::Context;
use crate::failure::Failure;
use crate::format::{render, span, table};
use crate::screen::{say, say_json};

/// Arguments of `plans`.
#[derive(Debug, Args)]
pub struct Plans {}

impl Plans {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let plans: Vec<Plan> = context.client.all(&["plans"], &[]).await?;
        if context.json {
            return say_json(&plans);
        }
        let mut table = table(&[
            "NAME",
            "OFFERED",
            "SERVER",
            "CONNECTIONS",
            "LOOKED AT EVERY",
        ]);
        for plan in plans {
            let offered = if plan.offered { "yes" } else { "not yet" };
            let server = if plan.dedicated { "its own" } else { "shared" };
            let cadence = chrono::TimeDelta::milliseconds(plan.cadence_ms.into());
            table.add_row([
                plan.name,
                offered.to_owned(),
                server.to_owned(),
                plan.connection_limit.to_string(),
                span(cadence),
            ]);
        }
        say(render(&table))
    }
}

//! `ringmaster ring`.

use clap::Args;
use shared::http_api::RingStats;

use super::Context;
use crate::failure::Failure;
use crate::format::{render, table};
use crate::screen::{say, say_json};

/// Arguments of `ring`.
#[derive(Debug, Args)]
pub struct RingArguments {}

impl RingArguments {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let rings: Vec<RingStats> = context.client.all(&["ring"], &[]).await?;
        if context.json {
            return say_json(&rings);
        }
        let mut table = table(&[
            "RING",
            "MEMBERS",
            "DUE",
            "LEASED",
            "EXPIRED",
            "OLDEST DUE",
            "SHARDS",
            "MISSING",
        ]);
        for ring in rings {
            table.add_row([
                ring.ring,
                ring.size.to_string(),
                ring.due.to_string(),
                ring.leased.to_string(),
                ring.expired.to_string(),
                format!("{} ms", ring.oldest_due_age_ms),
                ring.shards.to_string(),
                ring.shards_missing.to_string(),
            ]);
        }
        say(render(&table))
    }
}

//! `ringmaster observations`.

use clap::Args;
use shared::domain::Observation;
use shared::http_api::Page;

use super::Context;
use crate::client::Call;
use crate::failure::Failure;
use crate::format::{bytes, moment, or_dash, render, table};
use crate::screen::{note, say, say_json};

/// Arguments of `observations`.
#[derive(Debug, Args)]
pub struct Observations {
    /// Name or id of the database
    name: String,
    /// How many, the newest first (1 to 1000)
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

impl Observations {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let path = ["resources", self.name.as_str(), "observations"];
        let call = Call::get(&path).with("limit", self.limit.to_string());
        let page: Page<Observation> = context.client.call(call).await?;
        if context.json {
            return say_json(&page.data);
        }
        if page.data.is_empty() {
            note(format!("nothing was observed of {} yet", self.name));
            return Ok(());
        }
        let mut table = table(&[
            "OBSERVED",
            "SERVICE",
            "TOOK",
            "CONNECTIONS",
            "TABLES",
            "ROWS",
            "SIZE",
            "CACHE",
            "WAL",
        ]);
        for seen in page.data {
            table.add_row(row(&seen));
        }
        say(render(&table))
    }
}

fn row(seen: &Observation) -> [String; 9] {
    let service = match seen.outage {
        None if seen.available => "available".to_owned(),
        Some(outage) => format!("{outage:?}").to_lowercase(),
        None => "unavailable".to_owned(),
    };
    [
        moment(seen.observed_at),
        service,
        or_dash(seen.response_ms.map(|took| format!("{took:.1} ms"))),
        or_dash(
            seen.connections
                .map(|used| format!("{}/{}", used.open, used.limit)),
        ),
        or_dash(seen.tables.map(|tables| tables.count)),
        or_dash(seen.tables.map(|tables| tables.rows_estimated)),
        or_dash(seen.database_size_bytes.map(bytes)),
        or_dash(
            seen.cache_hit_ratio
                .map(|hit| format!("{:.1} %", hit * 100.0)),
        ),
        or_dash(seen.wal_lsn),
    ]
}

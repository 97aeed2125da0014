//! `ringmaster wait`.

use std::time::Duration;

use clap::Args;
use shared::http_api::ResourceUrl;

use super::Context;
use crate::client::{Call, Client};
use crate::failure::Failure;
use crate::waiting;

/// How long to wait.
#[derive(Debug, Args)]
pub(crate) struct Patience {
    /// Longest time to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout: u32,
}

impl Patience {
    /// The time.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }
}

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// Name or id of the database
    name: String,
    #[command(flatten)]
    patience: Patience,
}

impl Wait {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        waiting::for_resource(&context.client, &self.name, self.patience.duration()).await
    }
}

/// The URL of a database, with its password.
pub(super) async fn url_of(client: &Client, name: &str) -> Result<ResourceUrl, Failure> {
    client.call(Call::get(&["resources", name, "url"])).await
}

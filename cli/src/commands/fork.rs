//! `ringmaster fork`.

use clap::Args;
use shared::domain::ResourceName;
use shared::http_api::{ForkResource, Operation};

use super::Context;
use super::create::{fresh_key, tell_begun, tell_url};
use super::wait::Patience;
use crate::client::Call;
use crate::failure::Failure;
use crate::format::parse_span;
use crate::waiting;

/// Arguments of `fork`.
#[derive(Debug, Args)]
pub struct Fork {
    /// Name or id of the database to copy
    name: String,
    /// Name of the copy
    #[arg(long = "as", value_name = "NAME")]
    new_name: ResourceName,
    /// Plan of the copy; by default that of the original
    #[arg(long)]
    plan: Option<String>,
    /// As it was at this moment, with its time zone: "2026-11-22 10:15:00+00"
    #[arg(long, value_name = "MOMENT", group = "target")]
    to: Option<String>,
    /// As it was at this WAL position: 0/3000060
    #[arg(long, value_name = "LSN", group = "target")]
    lsn: Option<String>,
    /// As it was so long ago: 90s, 15m, 2h, 1d
    #[arg(long, value_name = "TIME", group = "target", value_parser = parse_span)]
    ago: Option<u32>,
    /// Wait until it is available, show how far it is, and print its URL
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
    /// Makes the same fork, sent again, answer with the first one; by default a new one each time
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Fork {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let body = ForkResource {
            name: self.new_name.to_string(),
            plan: self.plan,
            to: self.to,
            lsn: self.lsn,
            ago_s: self.ago,
        };
        let path = ["resources", self.name.as_str(), "forks"];
        let key = self.idempotency_key.unwrap_or_else(fresh_key);
        let call = Call::post(&path).once(&key);
        let operation: Operation = context.client.send(call, Some(&body)).await?;
        if self.wait {
            let patience = self.patience.duration();
            waiting::for_fork(&context.client, &operation, patience).await?;
            return tell_url(context, self.new_name.as_str()).await;
        }
        let (new_name, name) = (&self.new_name, &self.name);
        let what = format!("{new_name} is being made as a copy of {name}");
        tell_begun(context, &operation, &what)
    }
}

//! `ringmaster follow`.

use clap::Args;
use shared::domain::ResourceName;
use shared::http_api::{FollowResource, Operation};

use super::Context;
use super::create::{fresh_key, tell_begun, tell_url};
use super::wait::Patience;
use crate::client::Call;
use crate::failure::Failure;
use crate::waiting;

/// Arguments of `follow`.
#[derive(Debug, Args)]
pub struct Follow {
    /// Name or id of the database to follow
    name: String,
    /// Name of the follower
    #[arg(long = "as", value_name = "NAME")]
    new_name: ResourceName,
    /// Plan of the follower; by default that of the original
    #[arg(long)]
    plan: Option<String>,
    /// Wait until it can be read, show how far it is, and print its URL
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
    /// Makes the same request, sent again, answer with the first one; by default a new one each time
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Follow {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let body = FollowResource {
            name: self.new_name.to_string(),
            plan: self.plan,
        };
        let path = ["resources", self.name.as_str(), "followers"];
        let key = self.idempotency_key.unwrap_or_else(fresh_key);
        let call = Call::post(&path).once(&key);
        let operation: Operation = context.client.send(call, Some(&body)).await?;
        if self.wait {
            let patience = self.patience.duration();
            waiting::for_fork(&context.client, &operation, patience).await?;
            return tell_url(context, self.new_name.as_str()).await;
        }
        let (new_name, name) = (&self.new_name, &self.name);
        let what = format!("{new_name} is being made as a follower of {name}");
        tell_begun(context, &operation, &what)
    }
}

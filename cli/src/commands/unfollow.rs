//! `ringmaster unfollow`.

use clap::Args;
use shared::http_api::Operation;

use super::Context;
use super::wait::Patience;
use crate::client::Call;
use crate::failure::Failure;
use crate::screen::{note, say_json};
use crate::waiting;

/// Arguments of `unfollow`.
#[derive(Debug, Args)]
pub struct Unfollow {
    /// Name or id of the follower
    name: String,
    /// Wait until it is a database of its own
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
}

impl Unfollow {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let path = ["resources", self.name.as_str(), "unfollow"];
        let mut operation: Operation = context.client.call(Call::post(&path)).await?;
        if self.wait {
            let patience = self.patience.duration();
            operation = waiting::for_operation(&context.client, &operation, patience).await?;
        }
        if context.json {
            return say_json(&operation);
        }
        if !self.wait {
            note(format!(
                "{} is being made a database of its own (operation {}); its URL stays",
                self.name, operation.id
            ));
            note(format!(
                "see how far it is with: ringmaster info {}",
                self.name
            ));
        }
        Ok(())
    }
}

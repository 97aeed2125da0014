//! `ringmaster restore-check`.

use clap::Args;
use shared::http_api::Operation;

use super::Context;
use super::create::fresh_key;
use super::wait::Patience;
use crate::client::Call;
use crate::failure::Failure;
use crate::screen::{note, say_json};
use crate::waiting;

/// Arguments of `restore-check`.
#[derive(Debug, Args)]
pub struct RestoreCheck {
    /// Name or id of the database
    name: String,
    /// Wait until it is proven, and show how far it is
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
    /// Makes the same request, sent again, answer with the first one; by default a new one each time
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl RestoreCheck {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let path = ["resources", self.name.as_str(), "restore-checks"];
        let key = self.idempotency_key.unwrap_or_else(fresh_key);
        let call = Call::post(&path).once(&key);
        let mut operation: Operation = context.client.call(call).await?;
        if self.wait {
            let patience = self.patience.duration();
            operation = waiting::for_restore_check(&context.client, &operation, patience).await?;
        }
        if context.json {
            return say_json(&operation);
        }
        if !self.wait {
            note(format!(
                "{} is being restored on a server of its own, to prove that it can be (operation {})",
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

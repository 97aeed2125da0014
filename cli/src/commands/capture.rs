//! `ringmaster capture`.

use clap::Args;
use shared::http_api::Operation;

use super::Context;
use super::create::fresh_key;
use super::wait::Patience;
use crate::client::Call;
use crate::failure::Failure;
use crate::screen::{note, say_json};
use crate::waiting;

/// Arguments of `capture`.
#[derive(Debug, Args)]
pub struct Capture {
    /// Name or id of the database
    name: String,
    /// Wait until it is in the archive, and show how far it is
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
    /// Makes the same capture, sent again, answer with the first one; by default a new one each time
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Capture {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let path = ["resources", self.name.as_str(), "backups"];
        let key = self.idempotency_key.unwrap_or_else(fresh_key);
        let call = Call::post(&path).once(&key);
        let mut operation: Operation = context.client.call(call).await?;
        if self.wait {
            let patience = self.patience.duration();
            operation = waiting::for_backup(&context.client, &operation, patience).await?;
        }
        if context.json {
            return say_json(&operation);
        }
        if !self.wait {
            note(format!(
                "{} is being backed up (operation {})",
                self.name, operation.id
            ));
            note(format!(
                "see how far it is with: ringmaster backups {}",
                self.name
            ));
        }
        Ok(())
    }
}

//! `ringmaster credentials`.

use clap::{Args, Subcommand};
use shared::http_api::Operation;

use super::Context;
use super::wait::{Patience, url_of};
use crate::client::Call;
use crate::failure::Failure;
use crate::screen::{note, say, say_json};
use crate::waiting;

/// Arguments of `credentials`.
#[derive(Debug, Args)]
pub struct Credentials {
    /// Name or id of the database
    name: String,
    #[command(subcommand)]
    action: Action,
}

/// What to do with them.
#[derive(Debug, Subcommand)]
enum Action {
    /// Give the owner another password; sessions that are open stay open
    Rotate(Rotate),
}

/// Arguments of `credentials NAME rotate`.
#[derive(Debug, Args)]
struct Rotate {
    /// Wait until the new password is in force and the former one is not any more, and print the new
    /// URL
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
}

impl Credentials {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Action::Rotate(rotate) = self.action;
        let path = ["resources", self.name.as_str(), "credentials", "rotate"];
        let mut operation: Operation = context.client.call(Call::post(&path)).await?;
        if rotate.wait {
            let patience = rotate.patience.duration();
            operation = waiting::for_operation(&context.client, &operation, patience).await?;
        }
        if context.json {
            return say_json(&operation);
        }
        if rotate.wait {
            let url = url_of(&context.client, &self.name).await?;
            return say(url.url.expose());
        }
        note(format!(
            "{} gets another password (operation {}), which its URL has already",
            self.name, operation.id
        ));
        Ok(())
    }
}

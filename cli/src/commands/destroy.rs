//! `ringmaster destroy`.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;
use shared::http_api::Operation;

use super::Context;
use super::wait::Patience;
use crate::client::Call;
use crate::failure::{Failure, FailureKind};
use crate::screen::{note, say_json};
use crate::waiting;

/// Arguments of `destroy`.
#[derive(Debug, Args)]
pub struct Destroy {
    /// Name or id of the database
    name: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Wait until it is gone
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
}

impl Destroy {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        if !self.yes {
            confirm(&self.name)?;
        }
        let path = ["resources", self.name.as_str()];
        let mut operation: Operation = context.client.call(Call::delete(&path)).await?;
        if self.wait {
            let patience = self.patience.duration();
            operation = waiting::for_operation(&context.client, &operation, patience).await?;
        }
        if context.json {
            return say_json(&operation);
        }
        if !self.wait {
            note(format!(
                "{} is being destroyed (operation {})",
                self.name, operation.id
            ));
        }
        Ok(())
    }
}

fn confirm(name: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        let message = "nobody is there to confirm that the data shall be destroyed";
        return Err(Failure::new(FailureKind::Usage, message).advise("say so with --yes"));
    }
    note(format!(
        "This destroys {name} and its data for ever. Type its name to go on:"
    ));
    let mut typed = String::new();
    io::stdin()
        .lock()
        .read_line(&mut typed)
        .map_err(Failure::during("read the answer"))?;
    if typed.trim() == name {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::Usage,
        "that was another name; nothing was changed",
    ))
}

//! `ringmaster create`.

use clap::Args;
use shared::domain::ResourceName;
use shared::http_api::{CreateResource, Operation, ResourceUrl};
use uuid::Uuid;

use super::Context;
use super::wait::{Patience, url_of};
use crate::client::Call;
use crate::failure::Failure;
use crate::screen::{note, say, say_json};
use crate::waiting;

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Name of the new database: 1 to 40 lower-case letters, digits and hyphens
    name: ResourceName,
    /// Plan: hobby shares a server, standard has its own (see: ringmaster plans)
    #[arg(long, default_value = "hobby")]
    plan: String,
    /// Wait until it is available, and print its URL
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
    /// Makes the same create, sent again, answer with the first one; by default a new one each time
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let body = CreateResource {
            name: self.name.to_string(),
            plan: self.plan,
        };
        let key = self.idempotency_key.unwrap_or_else(fresh_key);
        let call = Call::post(&["resources"]).once(&key);
        let operation: Operation = context.client.send(call, Some(&body)).await?;
        if self.wait {
            let patience = self.patience.duration();
            waiting::for_operation(&context.client, &operation, patience).await?;
            return tell_url(context, self.name.as_str()).await;
        }
        tell_begun(
            context,
            &operation,
            &format!("{} is being created", self.name),
        )
    }
}

/// Tells that a new database is on its way: `what` is being made.
pub(super) fn tell_begun(
    context: &Context,
    operation: &Operation,
    what: &str,
) -> Result<(), Failure> {
    if context.json {
        return say_json(operation);
    }
    note(format!("{what} (operation {})", operation.id));
    note(format!(
        "wait until it is available with: ringmaster wait {}",
        operation.resource_name
    ));
    Ok(())
}

pub(super) async fn tell_url(context: &Context, name: &str) -> Result<(), Failure> {
    let url: ResourceUrl = url_of(&context.client, name).await?;
    if context.json {
        say_json(&url)
    } else {
        say(url.url.expose())
    }
}

/// A key that nobody has used.
pub(super) fn fresh_key() -> String {
    let id: Uuid = shared::ids::RequestId::new().into();
    id.to_string()
}

//! `ringmaster url`.

use clap::Args;

use super::Context;
use super::wait::url_of;
use crate::failure::{Failure, FailureKind};
use crate::screen::{say, say_json};

/// Arguments of `url`.
#[derive(Debug, Args)]
pub struct Url {
    /// Name or id of the database
    name: String,
    /// The URL of the port that lends connections for a transaction at a time: for many clients that
    /// do little each, and need nothing that lasts longer (no temporary tables, `LISTEN`, advisory locks
    /// or `SET`)
    #[arg(long)]
    pooled: bool,
}

impl Url {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let url = url_of(&context.client, &self.name).await?;
        if context.json {
            return say_json(&url);
        }
        if !self.pooled {
            return say(url.url.expose());
        }
        match &url.pooled_url {
            Some(pooled) => say(pooled.expose()),
            None => Err(no_pooled_port(&self.name)),
        }
    }
}

fn no_pooled_port(name: &str) -> Failure {
    Failure::new(
        FailureKind::Conflict,
        format!("clients of {name} reach its server directly, and there is no pooled port"),
    )
    .advise("use its other URL, which lasts: ringmaster url (without --pooled)")
}

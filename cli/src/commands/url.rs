//! `ringmaster url`.

use clap::Args;

use super::Context;
use super::wait::url_of;
use crate::failure::Failure;
use crate::screen::{say, say_json};

/// Arguments of `url`.
#[derive(Debug, Args)]
pub struct Url {
    /// Name or id of the database
    name: String,
}

impl Url {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let url = url_of(&context.client, &self.name).await?;
        if context.json {
            say_json(&url)
        } else {
            say(url.url.expose())
        }
    }
}

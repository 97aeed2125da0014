//! `ringmaster tokens`.

use clap::{Args, Subcommand};
use shared::domain::TokenScope;
use shared::http_api::{CreateToken, NewToken, Token};
use shared::ids::TokenId;

use super::Context;
use crate::client::Call;
use crate::failure::Failure;
use crate::format::{ago, or_dash, render, table};
use crate::screen::{note, say, say_json};

/// Arguments of `tokens`.
#[derive(Debug, Args)]
pub struct Tokens {
    #[command(subcommand)]
    command: TokensCommand,
}

#[derive(Debug, Subcommand)]
enum TokensCommand {
    /// Make a token; its secret is printed this once
    Create(CreateArguments),
    /// List tokens, without their secrets
    List,
    /// Take a token back at once
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct CreateArguments {
    /// What people call it
    name: String,
    /// What it allows: read sees, write also creates and destroys, admin also manages
    #[arg(long)]
    scope: TokenScope,
    /// Days until it is refused
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    expires_in_days: u32,
}

#[derive(Debug, Args)]
struct Revoke {
    /// Id of the token, as `tokens list` shows it
    id: TokenId,
}

impl Tokens {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            TokensCommand::Create(arguments) => arguments.run(context).await,
            TokensCommand::List => list(context).await,
            TokensCommand::Revoke(revoke) => revoke.run(context).await,
        }
    }
}

impl CreateArguments {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let body = CreateToken {
            name: self.name,
            scope: self.scope,
            expires_in_days: Some(self.expires_in_days),
        };
        let new: NewToken = context
            .client
            .send(Call::post(&["tokens"]), Some(&body))
            .await?;
        if context.json {
            return say_json(&new);
        }
        note(format!(
            "token {} ({}), shown this once:",
            new.token.id, new.token.scope
        ));
        say(new.secret.expose())
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let tokens: Vec<Token> = context.client.all(&["tokens"], &[]).await?;
    if context.json {
        return say_json(&tokens);
    }
    let mut table = table(&["ID", "NAME", "SCOPE", "CREATED", "EXPIRES", "REVOKED"]);
    for token in tokens {
        table.add_row([
            token.id.to_string(),
            token.name,
            token.scope.to_string(),
            ago(token.created_at),
            ago(token.expires_at),
            or_dash(token.revoked_at.map(ago)),
        ]);
    }
    say(render(&table))
}

impl Revoke {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let id = self.id.to_string();
        let path = ["tokens", id.as_str()];
        let answer: serde_json::Value = context.client.call(Call::delete(&path)).await?;
        if context.json {
            return say_json(&answer);
        }
        note(format!("token {id} is refused from now on"));
        Ok(())
    }
}

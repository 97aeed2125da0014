//! One file per command: its arguments, and what it does.

use clap::{ArgMatches, FromArgMatches as _};

use crate::arguments::{Arguments, Command};
use crate::client::Client;
use crate::connection::{ConnectionOptions, refuse_secrets};
use crate::failure::{Failure, FailureKind};

pub(crate) mod backups;
pub(crate) mod capture;
pub(crate) mod completions;
pub(crate) mod create;
pub(crate) mod credentials;
pub(crate) mod destroy;
pub(crate) mod events;
pub(crate) mod follow;
pub(crate) mod fork;
pub(crate) mod info;
pub(crate) mod jobs;
pub(crate) mod list;
pub(crate) mod observations;
pub(crate) mod plans;
pub(crate) mod psql;
pub(crate) mod restore_check;
pub(crate) mod ring;
pub(crate) mod servers;
pub(crate) mod system;
pub(crate) mod tokens;
pub(crate) mod unfollow;
pub(crate) mod url;
pub(crate) mod wait;

/// What every command that calls the API needs.
#[derive(Debug)]
pub(crate) struct Context {
    /// The API.
    pub client: Client,
    /// Whether the result is for a program.
    pub json: bool,
}

impl Context {
    fn new(connection: &ConnectionOptions, json: bool) -> Result<Self, Failure> {
        let here =
            std::env::current_dir().map_err(Failure::during("find the current directory"))?;
        let client = Client::new(connection.target(&here)?)?;
        Ok(Self { client, json })
    }
}

/// Does what the command line says.
///
/// # Errors
/// [`Failure`], whose kind is the exit code.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    refuse_secrets(matches)?;
    let Arguments {
        connection,
        json,
        command,
    } = Arguments::from_arg_matches(matches)
        .map_err(|error| Failure::new(FailureKind::Usage, error.to_string()))?;
    let context = || Context::new(&connection, json);
    match command {
        Command::Up(up) => up.run().await,
        Command::Down(down) => down.run().await,
        Command::Status(status) => status.run(json).await,
        Command::Completions(completions) => completions.run(),
        Command::Create(create) => create.run(&context()?).await,
        Command::List(list) => list.run(&context()?).await,
        Command::Info(info) => info.run(&context()?).await,
        Command::Url(url) => url.run(&context()?).await,
        Command::Credentials(credentials) => credentials.run(&context()?).await,
        Command::Psql(psql) => psql.run(&context()?).await,
        Command::Observations(observations) => observations.run(&context()?).await,
        Command::Events(events) => events.run(&context()?).await,
        Command::Wait(wait) => wait.run(&context()?).await,
        Command::Backups(backups) => backups.run(&context()?).await,
        Command::Capture(capture) => capture.run(&context()?).await,
        Command::RestoreCheck(check) => check.run(&context()?).await,
        Command::Fork(fork) => fork.run(&context()?).await,
        Command::Follow(follow) => follow.run(&context()?).await,
        Command::Unfollow(unfollow) => unfollow.run(&context()?).await,
        Command::Destroy(destroy) => destroy.run(&context()?).await,
        Command::Plans(plans) => plans.run(&context()?).await,
        Command::Servers(servers) => servers.run(&context()?).await,
        Command::Ring(ring) => ring.run(&context()?).await,
        Command::Jobs(jobs) => jobs.run(&context()?).await,
        Command::Tokens(tokens) => tokens.run(&context()?).await,
    }
}

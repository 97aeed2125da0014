//! The command line, as it is typed.

use clap::{Parser, Subcommand};

use crate::commands::{
    backups, capture, completions, create, credentials, destroy, events, follow, fork, info, jobs,
    list, observations, plans, psql, restore_check, ring, servers, system, tokens, unfollow, url,
    wait,
};
use crate::connection::ConnectionOptions;

/// Creates, watches and repairs a fleet of PostgreSQL databases.
#[derive(Debug, Parser)]
#[command(name = "ringmaster", version, after_help = after_help())]
pub struct Arguments {
    /// How the API is reached.
    #[command(flatten)]
    pub connection: ConnectionOptions,

    /// Write results as JSON, for programs.
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the whole system on this machine, and stay until Ctrl-C
    Up(system::Up),
    /// Stop the system on this machine; the data stays
    Down(system::Down),
    /// Show whether the system on this machine is ready
    Status(system::Status),
    /// Create a database
    Create(create::Create),
    /// List databases
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Show everything about a database
    Info(info::Info),
    /// Print the URL of a database, with its password
    Url(url::Url),
    /// Change how a database is logged in to
    Credentials(credentials::Credentials),
    /// Open psql on a database
    Psql(psql::Psql),
    /// Show what was observed of a database
    Observations(observations::Observations),
    /// Tell what happened to a database, and why
    Events(events::Events),
    /// List the base backups that a restore of a database can begin from
    Backups(backups::Backups),
    /// Make a base backup of a database now
    Capture(capture::Capture),
    /// Prove that a database can be restored: restore it on a server of its own, and check it
    RestoreCheck(restore_check::RestoreCheck),
    /// Make a writable copy of a database, as it is now or was at a moment
    Fork(fork::Fork),
    /// Make a read-only follower of a database, which replays what is written there
    Follow(follow::Follow),
    /// Make a writable database of its own of a follower
    Unfollow(unfollow::Unfollow),
    /// Wait until a database is available, or gone if it is being destroyed
    Wait(wait::Wait),
    /// Destroy a database and its data for ever
    Destroy(destroy::Destroy),
    /// List plans
    Plans(plans::Plans),
    /// List servers (admin)
    Servers(servers::Servers),
    /// Show the rings: members, due, leased (admin)
    Ring(ring::RingArguments),
    /// List jobs, or try dead ones again (admin)
    Jobs(jobs::Jobs),
    /// Create, list and revoke API tokens (admin)
    Tokens(tokens::Tokens),
    /// Print completions for a shell
    Completions(completions::Completions),
}

fn after_help() -> String {
    let codes = crate::failure::FailureKind::ALL
        .map(|kind| format!("  {}  {}\n", kind.code(), kind.meaning()));
    format!("Exit codes:\n  0  it is done\n{}", codes.concat())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_exit_code_is_in_the_help() {
        let help = Arguments::command().render_help().to_string();
        assert!(
            help.contains("7  the goal was not reached in the time given"),
            "{help}"
        );
        assert!(help.contains("0  it is done"), "{help}");
    }

    #[test]
    fn arguments_of_psql_are_passed_on_as_they_are() {
        let typed = ["ringmaster", "psql", "shop", "--", "-c", "select 1"];
        let Command::Psql(psql) = Arguments::parse_from(typed).command else {
            panic!("another command");
        };
        assert_eq!(psql.arguments, ["-c", "select 1"]);
    }
}

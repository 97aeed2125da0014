//! How the API is found: by options, by the environment, or because `ringmaster up` runs here.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::parser::ValueSource;
use serde::{Deserialize, Serialize};
use shared::secret::Secret;

use crate::failure::{Failure, FailureKind};

/// File that `up` leaves for the command line, in its directory.
pub(crate) const CLIENT_FILE: &str = "client.json";

/// Name of the directory of `up`, unless another was chosen.
pub(crate) const DEFAULT_DIRECTORY: &str = ".ringmaster";

/// How the API is reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionOptions {
    /// URL of the API; by default that of the `ringmaster up` found in this directory or above.
    #[arg(long, env = "RINGMASTER_API_URL", value_name = "URL", global = true)]
    pub api_url: Option<String>,

    /// File with the API token; by default that of the `ringmaster up` found in this directory or
    /// above. `RINGMASTER_TOKEN` may hold the token itself.
    #[arg(
        long,
        env = "RINGMASTER_TOKEN_FILE",
        value_name = "FILE",
        global = true
    )]
    pub token_file: Option<PathBuf>,

    /// The API token itself; only from the environment.
    #[arg(
        long,
        env = "RINGMASTER_TOKEN",
        hide_env_values = true,
        hide = true,
        value_name = "TOKEN",
        global = true
    )]
    pub token: Option<Secret>,
}

/// What `up` leaves for the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientFile {
    /// URL of the API.
    pub api_url: String,
    /// File with a token of scope admin.
    pub token_file: PathBuf,
}

/// Where the API is, and what opens it.
#[derive(Debug)]
pub(crate) struct Target {
    /// URL of the API.
    pub api_url: String,
    /// The bearer token.
    pub token: Secret,
}

/// Refuses a token among the arguments, which everybody on the machine can read.
pub(crate) fn refuse_secrets(matches: &clap::ArgMatches) -> Result<(), Failure> {
    if matches.value_source("token") == Some(ValueSource::CommandLine) {
        let message = "--token is refused: arguments are public on a machine";
        return Err(Failure::new(FailureKind::Usage, message)
            .advise("use --token-file, or the variable RINGMASTER_TOKEN"));
    }
    Ok(())
}

impl ConnectionOptions {
    /// Finds the API and a token; `from` is where the search for a running `up` begins.
    pub(crate) fn target(&self, from: &Path) -> Result<Target, Failure> {
        let found = find_client_file(from);
        let api_url = match (&self.api_url, &found) {
            (Some(url), _) => url.clone(),
            (None, Some(file)) => file.api_url.clone(),
            (None, None) => return Err(nowhere()),
        };
        let token_file = self
            .token_file
            .as_ref()
            .or_else(|| found.as_ref().map(|file| &file.token_file));
        let token = match (&self.token, token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(file)) => read_token(file)?,
            (None, None) => return Err(no_token()),
        };
        Ok(Target { api_url, token })
    }
}

fn find_client_file(from: &Path) -> Option<ClientFile> {
    from.ancestors().find_map(|directory| {
        let path = directory.join(DEFAULT_DIRECTORY).join(CLIENT_FILE);
        serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
    })
}

fn read_token(file: &Path) -> Result<Secret, Failure> {
    fs::read_to_string(file)
        .map(|text| Secret::new(text.trim()))
        .map_err(|error| {
            let file = file.display();
            Failure::new(
                FailureKind::NotAuthorised,
                format!("failed to read the token in {file}: {error}"),
            )
            .advise("name another with --token-file, or set RINGMASTER_TOKEN")
        })
}

fn nowhere() -> Failure {
    Failure::new(FailureKind::Unreachable, "no API is known")
        .advise("start one here with: make up   (or name one with --api-url and --token-file)")
}

fn no_token() -> Failure {
    Failure::new(FailureKind::NotAuthorised, "no token is known")
        .advise("name its file with --token-file, or set RINGMASTER_TOKEN")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> ConnectionOptions {
        ConnectionOptions {
            api_url: None,
            token_file: None,
            token: None,
        }
    }

    #[test]
    fn the_api_of_a_running_up_is_found_from_below() {
        let project = tempfile::tempdir().unwrap();
        let directory = project.path().join(DEFAULT_DIRECTORY);
        let below = project.path().join("a/b");
        fs::create_dir_all(&directory).unwrap();
        fs::create_dir_all(&below).unwrap();
        let failure = none().target(&below).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Unreachable);

        let token_file = directory.join("admin.token");
        let file = ClientFile {
            api_url: "http://127.0.0.1:1".to_owned(),
            token_file: token_file.clone(),
        };
        fs::write(
            directory.join(CLIENT_FILE),
            serde_json::to_string(&file).unwrap(),
        )
        .unwrap();
        let failure = none().target(&below).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::NotAuthorised);

        fs::write(token_file, "secret\n").unwrap();
        let target = none().target(&below).unwrap();
        assert_eq!(target.api_url, "http://127.0.0.1:1");
        assert_eq!(target.token.expose(), "secret");

        let mut options = none();
        options.api_url = Some("http://other".to_owned());
        options.token = Some(Secret::new("mine"));
        let target = options.target(&below).unwrap();
        assert_eq!(
            (target.api_url.as_str(), target.token.expose()),
            ("http://other", "mine")
        );
    }
}

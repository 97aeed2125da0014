//! `ringmaster up`, `down` and `status`: the system on this machine.

use std::path::PathBuf;

use clap::Args;

use crate::connection::DEFAULT_DIRECTORY;
use crate::failure::{Failure, FailureKind};
use crate::format::{render, table};
use crate::screen::{say, say_json};
use crate::up::{self, UpOptions};

/// Where the system on this machine keeps everything.
#[derive(Debug, Args)]
struct Place {
    /// Directory that holds everything: keys, data, logs
    #[arg(long, env = "RINGMASTER_DIRECTORY", value_name = "DIRECTORY", default_value = DEFAULT_DIRECTORY)]
    directory: PathBuf,
}

/// Arguments of `up`.
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    place: Place,
    /// Return as soon as everything is ready, and leave it running (stop it with: ringmaster down)
    #[arg(long, short)]
    detach: bool,
    /// Port of the API on 127.0.0.1; by default the last one, the first time any free one
    #[arg(long)]
    port: Option<u16>,
    /// What API, worker and agents log: a level, or levels of single modules
    #[arg(
        long,
        env = "RINGMASTER_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    log: String,
}

impl Up {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let options = UpOptions {
            directory: self.place.directory,
            port: self.port,
            log: self.log,
        };
        if self.detach {
            up::detach(&options).await
        } else {
            Box::pin(up::run(&options)).await
        }
    }
}

/// Arguments of `down`.
#[derive(Debug, Args)]
pub struct Down {
    #[command(flatten)]
    place: Place,
}

impl Down {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        up::down(&self.place.directory).await
    }
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    place: Place,
}

impl Status {
    pub(crate) async fn run(self, json: bool) -> Result<(), Failure> {
        let report = up::status(&self.place.directory).await?;
        if json {
            say_json(&report)?;
        } else {
            let mut table = table(&["PART", "ADDRESS", "STATE"]);
            table.add_row(["up", &report.directory, &format!("process {}", report.pid)]);
            for part in &report.parts {
                table.add_row([part.name, &part.address, &part.state]);
            }
            table.add_row(["agents", "", &report.agents.to_string()]);
            say(render(&table))?;
        }
        if report.ready {
            return Ok(());
        }
        Err(Failure::new(FailureKind::Failed, "not everything is ready")
            .advise(format!("see the logs in {}/log/", report.directory)))
    }
}

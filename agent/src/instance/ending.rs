//! Ending PostgreSQL, and deleting its data.

use std::fs;
use std::time::Duration;

use shared::agent_api::Phase;
use shared::process::{EndStep, HARD_END, Signal, end_all_in};

use super::{Instance, birth, ignore_absence};
use crate::durable_file::sync_directory;

/// For a PostgreSQL that hangs: it gets less time to end than one that is healthy.
pub(super) const FORCED_END: &[EndStep] = &[
    EndStep {
        to_all: false,
        signal: Signal::INT,
        patience: Duration::from_secs(8),
    },
    EndStep {
        to_all: false,
        signal: Signal::QUIT,
        patience: Duration::from_secs(2),
    },
    EndStep {
        to_all: true,
        signal: Signal::KILL,
        patience: Duration::from_secs(20),
    },
];

impl Instance {
    /// Returns when no process of the data directory is left.
    pub(super) async fn stop(&mut self, steps: &[EndStep]) -> anyhow::Result<()> {
        let data = self.agent.paths.data();
        if self.postmaster.is_some() {
            self.agent.board.enter(Phase::Stopping);
            self.agent.sampler.close().await;
        }
        end_all_in(&data, steps).await?;
        self.forget_postmaster();
        Ok(())
    }

    /// Deletes everything but what must be remembered.
    pub(super) async fn remove(&self) -> anyhow::Result<()> {
        let paths = self.agent.paths.clone();
        end_all_in(&birth::unfinished(&paths.data()), HARD_END).await?;
        let work = move || -> std::io::Result<()> {
            let directories = [
                paths.data(),
                birth::unfinished(&paths.data()),
                paths.configuration(),
                paths.restore(),
                paths.sockets(),
            ];
            for directory in directories {
                ignore_absence(fs::remove_dir_all(directory))?;
            }
            ignore_absence(fs::remove_file(paths.log()))?;
            sync_directory(paths.root())
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|error| anyhow::anyhow!("failed to delete the data: {error}"))
    }
}

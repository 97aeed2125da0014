//! Agents and customers' PostgreSQL servers that are still there when the worker has stopped.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::agent_api::DATA_DIRECTORY;
use shared::process::{
    FAST_END, PostmasterFile, PostmasterState, RunningProcess, Signal, end_all_in,
};
use tokio::time::timeout;

use crate::failure::{Failure, FailureKind};

/// Directory of a server that belongs to its agent.
const AGENT_DIRECTORY: &str = "agent";

/// Name of the agent's program.
pub(super) const AGENT: &str = "ringmaster-agent";

/// Longest time an agent may take to shut its PostgreSQL down.
const AGENT_PATIENCE: Duration = Duration::from_secs(90);

/// Ends every agent and every PostgreSQL below `servers`: agents shut theirs down in good order,
/// what is left without one is shut down directly.
pub(super) async fn end_servers(servers: &Path) -> Result<(), Failure> {
    let agents: Vec<RunningProcess> = processes()?
        .into_iter()
        .filter(|pid| is_agent_of(*pid, servers))
        .filter_map(|pid| RunningProcess::open(pid).ok())
        .collect();
    for agent in &agents {
        agent.signal(Signal::TERM)?;
    }
    let all_ended = async {
        for agent in &agents {
            agent.ended().await?;
        }
        Ok::<_, shared::process::ProcessError>(())
    };
    match timeout(AGENT_PATIENCE, all_ended).await {
        Ok(ended) => ended?,
        Err(_) => {
            for agent in &agents {
                agent.signal(Signal::KILL)?;
            }
        }
    }
    for directory in working_directories(servers)? {
        end_all_in(&directory, FAST_END).await?;
    }
    Ok(())
}

/// How many agents run below `servers`.
pub(super) fn count_agents(servers: &Path) -> usize {
    let pids = processes().unwrap_or_default();
    pids.into_iter()
        .filter(|pid| is_agent_of(*pid, servers))
        .count()
}

/// Servers below `servers`: how many there are, and how many of their PostgreSQL accept connections.
pub(super) fn count_servers(servers: &Path) -> (usize, usize) {
    let directories: Vec<PathBuf> = fs::read_dir(servers)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            Some(
                entry
                    .ok()?
                    .path()
                    .join(AGENT_DIRECTORY)
                    .join(DATA_DIRECTORY),
            )
        })
        .filter(|data| data.join("PG_VERSION").is_file())
        .collect();
    let serves = |data: &&PathBuf| {
        PostmasterFile::read(data).is_some_and(|file| {
            file.state == PostmasterState::Ready
                && working_directory(file.pid).as_ref() == Some(data)
        })
    };
    (directories.len(), directories.iter().filter(serves).count())
}

fn processes() -> Result<Vec<u32>, Failure> {
    let entries = fs::read_dir("/proc").map_err(Failure::during("list processes"))?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

/// Whether it is an agent that works below `servers`, or was told to by an argument or a variable.
fn is_agent_of(pid: u32, servers: &Path) -> bool {
    let words = |file: &str| -> Vec<String> {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let words = bytes.split(|byte| *byte == 0);
        words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    };
    let arguments = words("cmdline");
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    let told = |words: Vec<String>| {
        words.iter().any(|word| {
            let value = word
                .split_once('=')
                .map_or(word.as_str(), |(_, value)| value);
            Path::new(value).starts_with(servers)
        })
    };
    program.is_some_and(|name| name == AGENT)
        && (working_directory(pid).is_some_and(|path| path.starts_with(servers))
            || told(arguments)
            || told(words("environ")))
}

/// Every directory below `servers` that a process works in.
fn working_directories(servers: &Path) -> Result<BTreeSet<PathBuf>, Failure> {
    let servers = match fs::canonicalize(servers) {
        Ok(servers) => servers,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => {
            let doing = format!("look into {}", servers.display());
            return Err(Failure::new(
                FailureKind::Failed,
                format!("failed to {doing}: {error}"),
            ));
        }
    };
    let directories = processes()?.into_iter().filter_map(working_directory);
    Ok(directories
        .filter(|path| path.starts_with(&servers))
        .collect())
}

fn working_directory(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

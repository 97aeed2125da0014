//! The agent process of one local server.

use std::fs;

use serde::{Deserialize, Serialize};
use shared::ports::ServerOrder;
use shared::process::{
    Account, HARD_END, Lifetime, ProcessError, Program, RunningProcess, Signal, end_all_in,
};

use super::LocalOptions;
use super::home::Home;

/// What is remembered of a started agent: with the ticks, a recycled process id is recognised.
#[derive(Debug, Serialize, Deserialize)]
struct PidFile {
    pid: u32,
    started_ticks: u64,
}

/// The agent, if it runs.
pub(super) fn running(home: &Home) -> Option<RunningProcess> {
    let text = fs::read(home.pid_file()).ok()?;
    let noted: PidFile = serde_json::from_slice(&text).ok()?;
    let process = RunningProcess::open(noted.pid).ok()?;
    let same = process.started_ticks() == noted.started_ticks;
    (same && !is_zombie(noted.pid)).then_some(process)
}

/// Whether the process has ended and only waits for its parent to notice.
fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with('Z'))
        })
        .unwrap_or(true)
}

/// Starts the agent. It outlives this worker: a worker that dies must not take databases along.
pub(super) async fn start(
    home: &Home,
    options: &LocalOptions,
    order: &ServerOrder,
) -> Result<(), ProcessError> {
    let ports = home.choose_ports()?;
    let mut program = Program::new(&options.agent_binary, &Account::current())
        .arg("--server-id")
        .arg(order.server.to_string())
        .arg("--listen")
        .arg(format!("127.0.0.1:{}", ports.agent))
        .arg("--data-dir")
        .arg(home.agent_directory())
        .arg("--certificate")
        .arg(home.certificate())
        .arg("--key")
        .arg(home.key())
        .arg("--ca")
        .arg(home.authority());
    if let Some(pid) = options.supervisor_pid {
        program = program
            .arg("--die-with-agent")
            .arg("--die-with-pid")
            .arg(pid.to_string());
    }
    for directory in &options.postgres_bin_dirs {
        program = program.arg("--postgres-bin-dirs").arg(directory);
    }
    let launched = program.launch(Lifetime::Outlives, &home.log()).await?;
    let noted = PidFile {
        pid: launched.pid(),
        started_ticks: launched.process().started_ticks(),
    };
    let text = serde_json::to_vec(&noted).expect("two numbers serialise");
    home.write("agent.pid", &text)?;
    tracing::info!(
        server.id = %home.server(), agent.pid = launched.pid(), agent.port = ports.agent,
        request_id = %order.request_id, "started an agent",
    );
    Ok(())
}

/// Ends the agent, if it runs, and nothing else: the next one adopts its PostgreSQL, unless that
/// was told to end with it.
pub(super) async fn kill(home: &Home) -> Result<(), ProcessError> {
    if let Some(agent) = running(home) {
        agent.signal(Signal::KILL)?;
        agent.ended().await?;
    }
    Ok(())
}

/// Ends the agent and every process of its data directory, by force.
pub(super) async fn end(home: &Home) -> Result<(), ProcessError> {
    kill(home).await?;
    end_all_in(&home.data_directory(), HARD_END).await
}

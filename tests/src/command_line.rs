//! Runs the command line as a program, as a person or a script does.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// Longest time one command may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Outcome {
    /// The result as JSON.
    ///
    /// # Errors
    /// With the whole outcome, if it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("not JSON: {self:?}"))
    }
}

/// Calls `program` with these arguments in `directory`. Of our environment it sees only what is
/// given, and the path to look programs up in. There is no terminal and no input.
///
/// # Errors
/// If it does not start, or takes too long.
pub async fn run(
    program: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    directory: &Path,
) -> anyhow::Result<Outcome> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(environment.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .with_context(|| format!("{arguments:?} took longer than {PATIENCE:?}"))?
        .with_context(|| format!("start {}", program.display()))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Outcome {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    })
}

//! Starting children.
//!
//! The kernel sends a child its death signal when the *thread* that spawned it ends, so all
//! children are spawned from one thread that lives as long as this process.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{Account, ProcessError, RunningProcess};

/// Where children look for programs; nothing else of our environment reaches them.
const CHILD_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What happens to a child when this process ends, however it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It gets this signal.
    DiesWithUs(DeathSignal),
    /// It goes on. Its output must go to a file, as a pipe would break.
    Outlives,
}

/// The signal a child gets when we end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathSignal {
    /// For PostgreSQL: an immediate shutdown, which takes all backends along. After a SIGKILL of
    /// the postmaster busy ones would go on.
    Quit,
    /// For everything else.
    Kill,
}

/// A program with its arguments, and whom it runs as.
#[derive(Debug, Clone)]
pub struct Program {
    executable: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    account: Account,
}

impl Program {
    /// The program at `executable` (a path, or a name to look up), run as `account`, in `/`.
    pub fn new(executable: impl Into<PathBuf>, account: &Account) -> Self {
        Self {
            executable: executable.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: PathBuf::from("/"),
            account: account.clone(),
        }
    }

    /// Adds an argument. Never a secret: arguments are public on a machine.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments = arguments.into_iter().map(|each| each.as_ref().to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// Sets a variable in its otherwise nearly empty environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Name for messages: the last part of the path.
    pub fn name(&self) -> String {
        let name = self.executable.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Starts it in the background with its output appended to `log`, which is made readable to
    /// us and the group only.
    ///
    /// # Errors
    /// [`ProcessError::Spawn`] if it cannot be started. A program that ends at once is not an
    /// error here: wait for it to be ready.
    pub async fn launch(&self, lifetime: Lifetime, log: &Path) -> Result<Launched, ProcessError> {
        let output = open_log(log)?;
        let errors = output
            .try_clone()
            .map_err(ProcessError::file("duplicate", log))?;
        let mut command = self.command(lifetime);
        command.stdout(output).stderr(errors);
        let child = self.spawn(command).await?;
        let pid = child.id().unwrap_or_default();
        let process = RunningProcess::open(pid)?;
        Ok(Launched {
            program: self.name(),
            log: log.to_owned(),
            pid,
            process,
            child,
        })
    }

    /// Starts it with its output to be read by us. It dies with us, and when the child is dropped.
    ///
    /// # Errors
    /// [`ProcessError::Spawn`] if it cannot be started.
    pub async fn pipe(&self) -> Result<Child, ProcessError> {
        let mut command = self.command(Lifetime::DiesWithUs(DeathSignal::Kill));
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        self.spawn(command).await
    }

    /// As [`Self::pipe`], with its input to be written by us.
    ///
    /// # Errors
    /// [`ProcessError::Spawn`] if it cannot be started.
    pub async fn pipe_both(&self) -> Result<Child, ProcessError> {
        let mut command = self.command(Lifetime::DiesWithUs(DeathSignal::Kill));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        self.spawn(command).await
    }

    async fn spawn(&self, command: Command) -> Result<Child, ProcessError> {
        spawn_on_lasting_thread(command)
            .await
            .map_err(|source| ProcessError::Spawn {
                program: self.name(),
                source,
            })
    }

    fn command(&self, lifetime: Lifetime) -> Command {
        let mut wrapper: Vec<OsString> = Vec::new();
        if self.account.needs_switch() {
            wrapper.push(format!("--reuid={}", self.account.uid()).into());
            wrapper.push(format!("--regid={}", self.account.gid()).into());
            wrapper.push("--init-groups".into());
        }
        if let Lifetime::DiesWithUs(signal) = lifetime {
            let signal = match signal {
                DeathSignal::Quit => "QUIT",
                DeathSignal::Kill => "KILL",
            };
            wrapper.extend(["--pdeathsig".into(), signal.into()]);
        }
        let mut command = if wrapper.is_empty() {
            Command::new(&self.executable)
        } else {
            let mut command = Command::new("setpriv");
            command.args(wrapper).arg("--").arg(&self.executable);
            command
        };
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", CHILD_PATH)
            .env("LC_ALL", "C.UTF-8")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            // A group of its own: Ctrl-C on our terminal is for us to pass on in good order.
            .process_group(0);
        command
    }
}

/// A child that was started. Dropping this leaves it running.
#[derive(Debug)]
pub struct Launched {
    program: String,
    log: PathBuf,
    pid: u32,
    process: RunningProcess,
    child: Child,
}

impl Launched {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// It, to send signals to.
    pub fn process(&self) -> &RunningProcess {
        &self.process
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// [`ProcessError::File`] if the system does not tell.
    pub async fn wait(&mut self) -> Result<ExitStatus, ProcessError> {
        self.child
            .wait()
            .await
            .map_err(ProcessError::file("wait for", &self.program))
    }

    /// The error to report if it has ended already, with the last lines of its log.
    pub(super) fn early_end(&mut self) -> Result<(), ProcessError> {
        let ended = self
            .child
            .try_wait()
            .map_err(ProcessError::file("wait for", &self.program))?;
        match ended {
            None => Ok(()),
            Some(status) => Err(ProcessError::Failed {
                program: self.program.clone(),
                outcome: status.to_string(),
                output: super::tail_of(&self.log),
            }),
        }
    }

    /// The error to report if it was not ready within `waited`.
    pub(super) fn not_ready(&self, waited: std::time::Duration) -> ProcessError {
        ProcessError::NotReady {
            what: self.program.clone(),
            waited,
            output: super::tail_of(&self.log),
        }
    }
}

/// Runs a short program to its end and gives what it wrote to standard output. It dies with us.
///
/// # Errors
/// [`ProcessError::Failed`] with what it wrote, if its exit status is not zero.
pub async fn run_to_end(program: &Program) -> Result<String, ProcessError> {
    let child = program.pipe().await?;
    let output = child
        .wait_with_output()
        .await
        .map_err(ProcessError::file("wait for", program.name()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(ProcessError::Failed {
        program: program.name(),
        outcome: output.status.to_string(),
        output: format!("{} {}", text(&output.stderr), text(&output.stdout)),
    })
}

fn open_log(log: &Path) -> Result<File, ProcessError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(log)
        .map_err(ProcessError::file("open", log))
}

type Job = Box<dyn FnOnce() + Send>;

/// The thread whose end is the end of this process.
static SPAWNER: OnceLock<Option<mpsc::Sender<Job>>> = OnceLock::new();

async fn spawn_on_lasting_thread(mut command: Command) -> io::Result<Child> {
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        let run = move || jobs.into_iter().for_each(|job| job());
        let thread = thread::Builder::new().name("spawner".to_owned()).spawn(run);
        thread.ok().map(|_| sender)
    });
    let lost = || io::Error::other("the thread that starts processes does not run");
    let runtime = Handle::current();
    let (reply, spawned) = oneshot::channel();
    let job = move || {
        let _entered = runtime.enter();
        if let Err(unwanted) = reply.send(command.spawn()) {
            tracing::debug!(spawned = unwanted.is_ok(), "nobody waits for a new child");
        }
    };
    let sender = spawner.as_ref().ok_or_else(lost)?;
    sender.send(Box::new(job)).map_err(|_| lost())?;
    spawned.await.map_err(|_| lost())?
}

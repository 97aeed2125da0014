//! `ringmaster up` with everything real: created, broken, healed, stopped, and found again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::process::{Account, DeathSignal, Launched, Lifetime, Program, RunningProcess, Signal};
use tempfile::TempDir;
use tests::command_line::{Outcome, run};
use tokio::time::{Instant, sleep, timeout};

/// Longest time anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// A directory with a running `up`, which ends with the test.
struct System {
    program: PathBuf,
    directory: TempDir,
    up: Option<Launched>,
}

/// The programs lie beside the tests: `cargo build --workspace --all-targets`, which `make test`
/// does first.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_cli_under_test")).with_file_name("ringmaster");
    for name in [
        "ringmaster",
        "ringmaster-api",
        "ringmaster-worker",
        "ringmaster-agent",
        "ringmaster-gateway",
        "ringmaster-object-store",
    ] {
        let path = program.with_file_name(name);
        assert!(
            path.is_file(),
            "{path:?} is missing: cargo build --workspace --all-targets"
        );
    }
    program
}

impl System {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // PostgreSQL's user must pass through.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            program: program(),
            directory,
            up: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(".ringmaster").join(name)
    }

    async fn start(&mut self) {
        let up = Program::new(&self.program, &Account::current())
            .arg("up")
            .directory(self.directory.path());
        let log = self.directory.path().join("up.log");
        let up = up
            .launch(Lifetime::DiesWithUs(DeathSignal::Kill), &log)
            .await
            .unwrap();
        self.up = Some(up);
        self.until("everything is ready", || async {
            self.ringmaster(&["status"]).await.code == Some(0)
        })
        .await;
    }

    async fn stop(&mut self) {
        let mut up = self.up.take().unwrap();
        up.process().signal(Signal::INT).unwrap();
        let status = timeout(PATIENCE, up.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.told());
    }

    async fn ringmaster(&self, arguments: &[&str]) -> Outcome {
        run(&self.program, arguments, &[], self.directory.path())
            .await
            .unwrap()
    }

    /// Runs a command that must succeed, and gives its result.
    async fn good(&self, arguments: &[&str]) -> String {
        let outcome = self.ringmaster(arguments).await;
        assert_eq!(
            outcome.code,
            Some(0),
            "{arguments:?}: {outcome:?}\n{}",
            self.told()
        );
        outcome.out
    }

    async fn query(&self, sql: &str) -> Outcome {
        self.ringmaster(&[
            "psql",
            "shop",
            "--",
            "-qtAX",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ])
        .await
    }

    async fn until<F: Future<Output = bool>>(&self, what: &str, goal: impl Fn() -> F) {
        let deadline = Instant::now() + PATIENCE;
        while !goal().await {
            assert!(
                Instant::now() < deadline,
                "not in time: {what}\n{}",
                self.told()
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// What `up` told, for a test that fails.
    fn told(&self) -> String {
        fs::read_to_string(self.directory.path().join("up.log")).unwrap_or_default()
    }

    /// Processes of ours that run `program`.
    fn running(&self, program: &str) -> Vec<u32> {
        let ours = self.directory.path().to_string_lossy().into_owned();
        let pids = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let read = |file: &str| {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let name = read("cmdline")
                .split('\0')
                .next()
                .unwrap_or_default()
                .to_owned();
            Path::new(&name)
                .file_name()
                .is_some_and(|name| name == program)
                && (read("cmdline").contains(&ours)
                    || read("environ").contains(&ours)
                    || fs::read_link(format!("/proc/{pid}/cwd"))
                        .is_ok_and(|path| path.starts_with(self.directory.path())))
        })
        .collect()
    }

    /// Kills the only process that runs `program`, and waits for another one.
    async fn kill(&self, program: &str) {
        let [pid] = self.running(program)[..] else {
            panic!("not one {program} but {:?}", self.running(program));
        };
        RunningProcess::open(pid)
            .unwrap()
            .signal(Signal::KILL)
            .unwrap();
        self.until(&format!("another {program}"), || async {
            self.running(program).iter().any(|other| *other != pid)
        })
        .await;
    }

    async fn until_query_answers(&self, sql: &str, expected: &str) {
        self.until(sql, || async {
            let outcome = self.query(sql).await;
            outcome.code == Some(0) && outcome.out.trim() == expected
        })
        .await;
    }
}

/// A test that fails leaves nothing: what `up` started ends with it.
impl Drop for System {
    fn drop(&mut self) {
        for pid in self.running("ringmaster") {
            if let Ok(process) = RunningProcess::open(pid) {
                drop(process.signal(Signal::KILL));
            }
        }
    }
}

#[tokio::test]
async fn a_system_is_started_broken_healed_stopped_and_found_again() {
    let mut system = System::new();
    system.start().await;
    let again = system.ringmaster(&["up"]).await;
    assert_eq!(
        again.code,
        Some(4),
        "two of one directory are refused: {again:?}"
    );

    let url = system
        .good(&["create", "shop", "--plan", "standard", "--wait"])
        .await;
    assert!(url.starts_with("postgres://shop_"), "{url}");
    let pooled = system.good(&["url", "shop", "--pooled"]).await;
    assert!(
        pooled.starts_with("postgres://shop_") && pooled != url,
        "{pooled}"
    );
    let filled = system.query("create table orders as select 42 as id").await;
    assert_eq!(filled.code, Some(0), "{filled:?}");

    system.kill("ringmaster-worker").await;
    system.kill("ringmaster-agent").await;
    system.kill("ringmaster-object-store").await;
    system.kill("ringmaster-gateway").await;
    system
        .until_query_answers("select id from orders", "42")
        .await;
    let told = system.good(&["events", "shop"]).await;
    assert!(told.contains("ready → unreachable"), "{told}");
    system
        .until("what was written is in the archive", || async {
            let info = system.good(&["info", "shop"]).await;
            info.contains("protection          on") && info.contains("archived up to")
        })
        .await;

    system.stop().await;
    for program in [
        "ringmaster-worker",
        "ringmaster-api",
        "ringmaster-agent",
        "ringmaster-gateway",
        "ringmaster-object-store",
        "postgres",
        "pgbouncer",
    ] {
        assert_eq!(system.running(program), [0; 0], "{program} is left");
    }
    let status = system.ringmaster(&["status"]).await;
    assert_eq!(status.code, Some(6), "{status:?}");

    system.start().await;
    system
        .until_query_answers("select id from orders", "42")
        .await;
    assert_eq!(system.good(&["url", "shop"]).await, url, "the URL stays");
    let rotated = system
        .good(&["credentials", "shop", "rotate", "--wait"])
        .await;
    assert_ne!(rotated, url, "with another password");
    assert_eq!(system.good(&["url", "shop"]).await, rotated);
    system
        .until_query_answers("select id from orders", "42")
        .await;
    system.good(&["destroy", "shop", "--yes", "--wait"]).await;
    assert_eq!(system.good(&["list"]).await, "");
    system.stop().await;
}

#[tokio::test]
async fn a_system_in_the_background_is_stopped_by_a_command() {
    let system = System::new();
    system.good(&["up", "--detach"]).await;
    system.good(&["status"]).await;
    assert!(system.path("admin.token").is_file());
    let log = fs::read_to_string(system.path("log/api.log")).unwrap();
    let token = fs::read_to_string(system.path("admin.token")).unwrap();
    assert!(!log.contains(token.trim()), "no secret is in a log");
    system.good(&["down"]).await;
    assert_eq!(system.ringmaster(&["down"]).await.code, Some(6));
}

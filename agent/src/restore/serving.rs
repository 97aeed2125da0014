//! Answering PostgreSQL's `restore_command`, over a socket that only its user can reach.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::agent_api::restore::RestoreSource;
use shared::archive::manifest::Manifest;
use shared::archive::way::{Asked, Segment};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::command::Answer;
use super::ending::leg_of;
use super::feeding::Feed;
use crate::agent::Agent;
use crate::instance::ignore_absence;

/// Name of the socket, below the directory of a restore.
pub(crate) const SOCKET: &str = "wal.socket";

/// Longest question in bytes.
const QUESTION_BYTES_MAX: u64 = 1024;

/// Where PostgreSQL wants its files, below the data directory.
const WAL_DIRECTORY: &str = "pg_wal";

/// The service, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Serving(JoinSet<()>);

impl Serving {
    /// Begins to answer, and to fetch what the first question will be about. One that `follows` may
    /// be far beyond its backup: nothing is fetched for it before it asks. Blocks for a moment.
    pub(crate) fn begin(
        agent: &Arc<Agent>,
        (source, incarnation): (&RestoreSource, u64),
        manifest: &Manifest,
        follows: bool,
    ) -> anyhow::Result<Self> {
        agent.restore.begin_replay(manifest.bytes());
        let segment_bytes = u32::try_from(manifest.wal_segment_bytes)?;
        let leg = leg_of(source, manifest).context("the leg of the backup")?;
        let first = Segment {
            leg,
            start: shared::archive::chain::segment_start(manifest.start_lsn, segment_bytes),
        };
        let first = (!follows).then_some(first);
        let feed = Feed::new(agent, (source, incarnation), segment_bytes, first)?;
        let feed = Arc::new(feed);
        let listener = listen(agent)?;
        let mut tasks = JoinSet::new();
        let feeding = Arc::clone(&feed);
        tasks.spawn(async move { feeding.run().await });
        tasks.spawn(async move {
            let mut answering = JoinSet::new();
            loop {
                tokio::select! {
                    Some(_) = answering.join_next(), if !answering.is_empty() => {}
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => {
                            answering.spawn(converse(Arc::clone(&feed), stream));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "failed to accept a question for WAL");
                            sleep(Duration::from_millis(100)).await;
                        }
                    },
                }
            }
        });
        Ok(Self(tasks))
    }

    /// Whether it still goes on.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_join_next().is_none()
    }
}

fn listen(agent: &Agent) -> anyhow::Result<UnixListener> {
    let directory = agent.paths.restore();
    let path = directory.join(SOCKET);
    ignore_absence(fs::remove_file(&path))?;
    // A path of a socket is short; one through a descriptor of its directory always is.
    let open = fs::File::open(&directory)?;
    let short = format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd());
    let listener = UnixListener::bind(short).context("listen for questions for WAL")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    agent.account.give(&path)?;
    Ok(listener)
}

/// Answers one question: `<name> <path>`, ended by a line break.
async fn converse(feed: Arc<Feed>, stream: UnixStream) {
    let mut stream = BufReader::new(stream);
    let mut question = String::new();
    let read = (&mut stream)
        .take(QUESTION_BYTES_MAX)
        .read_line(&mut question)
        .await;
    let asked = question
        .strip_suffix('\n')
        .and_then(|asked| asked.split_once(' '));
    let (Ok(_), Some((name, to))) = (read, asked) else {
        tracing::warn!("a question for WAL is not understood");
        return;
    };
    let answer = tokio::select! {
        answer = answer(&feed, name, to) => answer,
        detail = failure(&feed) => Answer::Failed(detail),
        // Who asked is gone: nothing is said after the question.
        _ = stream.read_u8() => return,
    };
    tracing::debug!(file = name, ?answer, "PostgreSQL asks for WAL");
    if let Err(error) = stream
        .get_mut()
        .write_all(answer.to_line().as_bytes())
        .await
    {
        tracing::debug!(%error, "nobody waits for an answer");
    }
}

async fn failure(feed: &Feed) -> String {
    let board = &feed.agent.restore;
    let failed = board.until(|state| state.failed.clone()).await;
    failed.detail
}

/// Waits for what is asked for, unless it is certain that there is no such file. While a follower is
/// promoted, nothing is waited for: PostgreSQL has all that it replayed, and would wait for us.
async fn answer(feed: &Feed, name: &str, to: &str) -> Answer {
    let given = match Asked::parse(name, feed.segment_bytes) {
        None => return Answer::Nothing,
        Some(Asked::History { tli }) => match history(feed, tli) {
            None => return Answer::Nothing,
            Some(history) => give_history(feed, history, to).await.map(|()| true),
        },
        Some(Asked::Segment { tli, start }) => match feed.way().segment(tli, start) {
            None => return Answer::Nothing,
            Some(segment) => tokio::select! {
                biased;
                () = feed.agent.restore.promotion() => return Answer::Nothing,
                given = give_segment(feed, segment, (name, to)) => given,
            },
        },
    };
    match given {
        Ok(true) => Answer::Served,
        Ok(false) => Answer::Nothing,
        Err(error) => {
            let detail = format!("{name}: {error:#}");
            feed.agent.restore.note_trouble(Some(detail));
            Answer::Again
        }
    }
}

/// The history file of `tli`. Those that a promotion passes over are there, too: PostgreSQL takes the
/// first number after the last leg that has none.
fn history(feed: &Feed, tli: u32) -> Option<String> {
    let known = feed.agent.store.get();
    let wanted = known.instruction.as_ref()?.spec.promotion_tli;
    let last = feed.source.path.last()?.run.tli;
    let is_passed_over = wanted.is_some_and(|wanted| last < tli && tli < wanted);
    let passed_over = || is_passed_over.then(|| "# not in this history\n".to_owned());
    feed.way().history(tli).or_else(passed_over)
}

async fn give_segment(
    feed: &Feed,
    segment: Segment,
    (name, to): (&str, &str),
) -> anyhow::Result<bool> {
    let own = feed.agent.paths.data().join(WAL_DIRECTORY).join(name);
    feed.take(segment, (&own, &place(feed, to)?)).await
}

/// The place below the data directory that PostgreSQL names.
fn place(feed: &Feed, to: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(to);
    let parts: Vec<Component<'_>> = path.components().collect();
    let is_good = matches!(parts.as_slice(), [Component::Normal(directory), Component::Normal(_)]
        if *directory == WAL_DIRECTORY);
    ensure!(is_good, "{to:?} is no place for WAL");
    Ok(feed.agent.paths.data().join(path))
}

async fn give_history(feed: &Feed, history: String, to: &str) -> anyhow::Result<()> {
    let to = place(feed, to)?;
    let new = feed.directory.join("history");
    let account = feed.agent.account.clone();
    let give = move || -> anyhow::Result<()> {
        fs::write(&new, history)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        account.give(&new)?;
        Ok(fs::rename(&new, &to)?)
    };
    spawn_blocking(give).await?.context("give a history file")
}

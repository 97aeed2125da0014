//! What the agent remembers, durably: `state.json`.
//!
//! Everything a generation promises rests on this file, so one that cannot be read is an error that
//! ends the agent, never an empty start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use shared::agent_api::InstanceSpec;
use shared::agent_api::restore::{RestoreSource, Restored};
use shared::ids::{RestoreId, ServerId};
use tokio::sync::Mutex;

use crate::durable_file::replace_durably;

/// Form of the file that this version reads and writes.
const FORM: u32 = 1;

/// Whose history it writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// One of its own.
    #[default]
    Independent,
    /// None: it replays that of another one.
    Follows,
    /// None yet: it was told to begin one of its own, and that is not done.
    Promotes,
}

impl Standing {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_independent(&self) -> bool {
        *self == Self::Independent
    }
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// Form of the file.
    form: u32,
    /// The server this is about.
    pub(crate) server: ServerId,
    /// The newest instruction; none before the first.
    pub(crate) instruction: Option<Instruction>,
    /// Highest generation whose spec held in full.
    pub(crate) converged_generation: u64,
    /// Whether the data directory was made. From then on it is never made again: data that is gone
    /// is an error, not a reason for an empty database.
    pub(crate) born: bool,
    /// The `incarnation` PostgreSQL was last started for; 0 before the first start.
    pub(crate) started_incarnation: u64,
    /// The boot of this machine in which the control plane last confirmed the generation.
    pub(crate) confirmed_boot_id: String,
    /// How often PostgreSQL ended without being told to.
    pub(crate) crashes: u64,
    /// How it last did.
    pub(crate) last_crash: Option<String>,
    /// Where its history begins, once its restore has reached the target for sure; none before, and
    /// if it was not born from one.
    #[serde(default)]
    pub(crate) restored: Option<Restored>,
    /// Whether it follows. What was told to be a leader never does again.
    /// Left out where it says nothing, so that an agent of before can read the rest.
    #[serde(default, skip_serializing_if = "Standing::is_independent")]
    pub(crate) standing: Standing,
    /// Databases that were brought here by transfers, newest last, as many as are remembered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) transferred: Vec<Transferred>,
}

/// A database that was brought here, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transferred {
    /// The restore that it was taken out of.
    pub(crate) restore: RestoreId,
    /// PostgreSQL's identity of the database: its name is given to it after this is remembered.
    pub(crate) oid: u32,
}

/// An accepted instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instruction {
    /// The desired state, with its generation.
    pub(crate) spec: InstanceSpec,
    /// [`InstanceSpec::digest`] when it was accepted: later versions may compute another one.
    pub(crate) digest: String,
}

impl State {
    fn before_the_first(server: ServerId) -> Self {
        Self {
            form: FORM,
            server,
            instruction: None,
            converged_generation: 0,
            born: false,
            started_incarnation: 0,
            confirmed_boot_id: String::new(),
            crashes: 0,
            last_crash: None,
            restored: None,
            standing: Standing::Independent,
            transferred: Vec::new(),
        }
    }

    /// What is restored at the moment, or followed; none if that has ended, or the instance was born
    /// otherwise.
    pub(crate) fn restoring(&self) -> Option<&RestoreSource> {
        let instruction = self.instruction.as_ref()?;
        let source = instruction.spec.birth.restore()?;
        self.restored.is_none().then_some(source)
    }

    /// Highest generation made durable; 0 before the first.
    pub(crate) fn generation(&self) -> u64 {
        self.instruction
            .as_ref()
            .map_or(0, |instruction| instruction.spec.generation)
    }

    fn parse(text: &[u8], server: ServerId) -> Result<Self, Corruption> {
        #[derive(Deserialize)]
        struct Form {
            form: u32,
        }
        let form: Form = serde_json::from_slice(text)?;
        if form.form != FORM {
            return Err(Corruption::Form(form.form));
        }
        let state: Self = serde_json::from_slice(text)?;
        if state.server != server {
            return Err(Corruption::OtherServer(state.server));
        }
        Ok(state)
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Corruption {
    /// It is damaged.
    #[error("it is damaged")]
    Damaged(#[from] serde_json::Error),
    /// Another version of the agent wrote it.
    #[error("it has form {0}, and this version of the agent reads form {FORM}")]
    Form(u32),
    /// It is about another server.
    #[error("it belongs to server {0}")]
    OtherServer(ServerId),
}

/// What can go wrong with remembering.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file cannot be used; a person must look.
    #[error("failed to understand {path}; the agent does not start without what it promised")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Corruption,
    },
    /// The file cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written; the old content holds.
    #[error("failed to write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The remembered state and its file. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    file: Arc<Kept>,
    /// Held by whoever changes the state, until the change is durable.
    writer: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    current: RwLock<Arc<State>>,
}

impl Kept {
    /// Makes a state durable, and only then seen.
    fn keep(&self, next: State) -> Result<(), StoreError> {
        let text = serde_json::to_vec_pretty(&next).expect("the state is plain data");
        replace_durably(&self.path, &text).map_err(|source| StoreError::Write {
            path: self.path.clone(),
            source,
        })?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }
}

impl Store {
    /// Reads the file; none means that no agent of this server has been here.
    pub(crate) fn open(path: &Path, server: ServerId) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let state = match fs::read(&path) {
            Ok(text) => State::parse(&text, server).map_err(|source| StoreError::Corrupt {
                path: path.clone(),
                source,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                State::before_the_first(server)
            }
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        let current = RwLock::new(Arc::new(state));
        Ok(Self {
            file: Arc::new(Kept { path, current }),
            writer: Arc::default(),
        })
    }

    /// What is remembered now.
    pub(crate) fn get(&self) -> Arc<State> {
        Arc::clone(
            &self
                .file
                .current
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Decides on a change while nobody else changes anything, and makes it durable before anybody
    /// sees it. `change` edits the state, or refuses.
    ///
    /// A change that was begun is finished even if its caller gives up, and the next one waits for
    /// it: a disk that hangs must not let two writes meet.
    pub(crate) async fn update<T, R>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, R>,
    ) -> Result<Result<T, R>, StoreError> {
        let writing = Arc::clone(&self.writer).lock_owned().await;
        let current = self.get();
        let mut next = State::clone(&current);
        let outcome = change(&mut next);
        if outcome.is_err() || next == *current {
            return Ok(outcome);
        }
        let file = Arc::clone(&self.file);
        let write = tokio::task::spawn_blocking(move || {
            let written = file.keep(next);
            drop(writing);
            written
        });
        let written = write.await.map_err(|error| StoreError::Write {
            path: self.file.path.clone(),
            source: io::Error::other(error),
        });
        written.flatten().map(|()| outcome)
    }

    /// As [`Store::update`], for changes that are never refused.
    pub(crate) async fn set(&self, change: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        let outcome = self.update(|state| {
            change(state);
            Ok::<_, std::convert::Infallible>(())
        });
        outcome.await.map(|Ok(())| ())
    }
}

#[cfg(test)]
mod tests;

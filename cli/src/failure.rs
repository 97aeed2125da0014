//! How a command fails: what happened, what to do next, and the exit code.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::screen::note;

/// Kinds of failure; each has an exit code that programs can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// It did not work, for a reason of its own.
    Failed,
    /// The command line, or a value in it, is not valid.
    Usage,
    /// What was named does not exist (or may not be known).
    NotFound,
    /// It contradicts what is there, for example a taken name.
    Conflict,
    /// The token is missing, expired, revoked, or does not allow it.
    NotAuthorised,
    /// The API does not answer.
    Unreachable,
    /// The goal was not reached in the time given; it may still be reached.
    TimedOut,
}

impl FailureKind {
    /// Every kind, in the order of the codes.
    pub const ALL: [Self; 7] = [
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::Conflict,
        Self::NotAuthorised,
        Self::Unreachable,
        Self::TimedOut,
    ];

    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::NotAuthorised => 5,
            Self::Unreachable => 6,
            Self::TimedOut => 7,
        }
    }

    /// What the code means, for `--help` and the documentation.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "it failed",
            Self::Usage => "the command line, or a value in it, is not valid",
            Self::NotFound => "what was named does not exist",
            Self::Conflict => "it contradicts what is there, for example a taken name",
            Self::NotAuthorised => "the token is missing, expired, or does not allow it",
            Self::Unreachable => "the API does not answer, or nothing runs here",
            Self::TimedOut => "the goal was not reached in the time given",
        }
    }
}

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    message: String,
    advice: Option<String>,
}

impl Failure {
    /// A failure of this kind; `message` says what happened.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            advice: None,
        }
    }

    /// Wraps an error that happened while `doing` something (present tense: `read the key`).
    pub fn during<E: Error + 'static>(doing: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| {
            let chain = shared::telemetry::chain(&error);
            Self::new(FailureKind::Failed, format!("failed to {doing}: {chain}"))
        }
    }

    /// Adds what the person can do next.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Which kind it is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// What to do next, if anything is known.
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// The code this process ends with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

impl From<shared::process::ProcessError> for Failure {
    fn from(error: shared::process::ProcessError) -> Self {
        let chain = shared::telemetry::chain(&error).to_string();
        Self::new(FailureKind::Failed, chain)
    }
}

/// Tells the person what happened and what to do.
pub(crate) fn report(failure: &Failure) {
    note(format!("error: {failure}"));
    if let Some(advice) = failure.advice() {
        note(format!("  → {advice}"));
    }
}

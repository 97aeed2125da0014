//! `restore_command`: what PostgreSQL runs for each file of WAL that it wants.
//!
//! This program again, as PostgreSQL's user, with a hidden first argument. It asks the agent and
//! waits for the answer; an agent that is not there comes back. PostgreSQL understands:
//!
//! | exit code | means |
//! |---|---|
//! | 0 | the file is there |
//! | 1 | there is no such file: the end of WAL, or no such history |
//! | 126 | recovery must end with an error |
//!
//! A standby is told that there is no such segment, too, when there has been no agent for a while: it
//! can stream then, and asks again. For a restore that would be its end.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The first argument.
pub(crate) const COMMAND: &str = "restore-wal";

/// There is no such file.
const NOTHING: u8 = 1;

/// PostgreSQL takes what is larger than 125 for a reason to end.
const FAILED: u8 = 126;

/// Pause before the agent is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// The last argument of a standby.
pub(crate) const STANDBY: &str = "standby";

/// How often a standby asks an agent that is not there.
const STANDBY_ASKS: u32 = 150;

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The file is where it was wanted.
    Served,
    /// There is certainly no such file.
    Nothing,
    /// It did not work; ask again.
    Again,
    /// It never will.
    Failed(String),
}

impl Answer {
    pub(super) fn to_line(&self) -> String {
        match self {
            Self::Served => "served\n".to_owned(),
            Self::Nothing => "nothing\n".to_owned(),
            Self::Again => "again\n".to_owned(),
            Self::Failed(detail) => format!("failed {}\n", detail.replace('\n', " ")),
        }
    }

    /// Reads a line; what is not a whole answer is none.
    fn parse(line: &str) -> Option<Self> {
        match line.strip_suffix('\n')? {
            "served" => Some(Self::Served),
            "nothing" => Some(Self::Nothing),
            "again" => Some(Self::Again),
            other => {
                let detail = other.strip_prefix("failed ")?;
                Some(Self::Failed(detail.to_owned()))
            }
        }
    }
}

/// Runs with the arguments behind the first one: socket, name of the file, where to put it, and
/// [`STANDBY`] if it is one.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> = arguments
        .filter_map(|argument| argument.into_string().ok())
        .collect();
    let [socket, name, to, rest @ ..] = arguments.as_slice() else {
        return fail("expected a socket, a name and a path");
    };
    // A history that is there must not be passed over: its number would be taken.
    let may_give_up = rest.iter().any(|word| word == STANDBY) && !name.ends_with(".history");
    let mut asked = 0;
    loop {
        match ask(Path::new(socket), name, to) {
            Ok(Some(Answer::Served)) => return ExitCode::SUCCESS,
            Ok(Some(Answer::Nothing)) => return NOTHING.into(),
            Ok(Some(Answer::Failed(detail))) => return fail(&detail),
            // Killed, not there yet, or in trouble: never the end of WAL.
            Ok(Some(Answer::Again) | None) | Err(_) => {
                asked += 1;
                if may_give_up && asked == STANDBY_ASKS {
                    return NOTHING.into();
                }
                std::thread::park_timeout(PAUSE);
            }
        }
    }
}

fn ask(socket: &Path, name: &str, to: &str) -> io::Result<Option<Answer>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("{name} {to}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(Answer::parse(&line))
}

/// PostgreSQL's log has what is written here.
fn fail(detail: &str) -> ExitCode {
    let mut log = io::stderr();
    if writeln!(log, "ringmaster-agent: {detail}").is_err() {
        return FAILED.into();
    }
    FAILED.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_one() {
        let failed = Answer::Failed("segments/1 is\ndamaged".to_owned());
        assert_eq!(
            Answer::parse(&failed.to_line()),
            Some(Answer::Failed("segments/1 is damaged".to_owned()))
        );
        for answer in [Answer::Served, Answer::Nothing, Answer::Again] {
            assert_eq!(Answer::parse(&answer.to_line()), Some(answer));
        }
        for cut_off in [
            "",
            "\n",
            "not",
            "nothing",
            "served",
            "failed\n",
            "nothing \n",
        ] {
            assert_eq!(Answer::parse(cut_off), None, "{cut_off:?}");
        }
    }
}

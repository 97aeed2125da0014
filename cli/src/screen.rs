//! What people and programs see: results on standard output, everything else on standard error.

use std::io::{self, IsTerminal as _};

use serde::Serialize;

use crate::failure::{Failure, FailureKind};

/// Writes one line to standard output. A reader that has gone away (`| head`) is not an error.
///
/// # Errors
/// [`Failure`] if the output cannot be written, for example because the disk is full.
pub(crate) fn say(line: impl AsRef<str>) -> Result<(), Failure> {
    write_line(&mut io::stdout().lock(), line.as_ref())
}

/// Writes one line to standard error: progress, and what is not part of the result. If that is not
/// possible there is nobody left to tell.
pub(crate) fn note(line: impl AsRef<str>) {
    drop(write_line(&mut io::stderr().lock(), line.as_ref()));
}

/// Writes a result for programs: one JSON document.
///
/// # Errors
/// As [`say`].
pub(crate) fn say_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::during("write JSON"))?;
    say(text)
}

/// Whether a person watches the progress on standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

fn write_line(target: &mut impl io::Write, line: &str) -> Result<(), Failure> {
    match writeln!(target, "{line}").and_then(|()| target.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            FailureKind::Failed,
            format!("failed to write the output: {error}"),
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}

//! What is going on: a bar on a terminal, plain lines elsewhere, on stderr in both cases.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// One step of a scenario, of a known size.
pub(crate) struct Progress {
    what: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins a step of `total` parts (of 0: unknown).
    pub(crate) fn begin(what: impl Into<String>, total: u64) -> Self {
        let what = what.into();
        if !std::io::stderr().is_terminal() {
            line(&format!("{what} …"));
            return Self { what, bar: None };
        }
        let bar = if total == 0 {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::new(total)
        };
        let template = if total == 0 {
            "{spinner} {msg} {elapsed}"
        } else {
            "{msg} {wide_bar} {percent}% {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_message(what.clone());
        Self {
            what,
            bar: Some(bar),
        }
    }

    /// Notes that `done` parts are done.
    pub(crate) fn at(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// Ends the step with its result in a few words.
    pub(crate) fn end(self, result: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        line(&format!("{}: {result}", self.what));
    }
}

pub(crate) fn line(text: &str) {
    // Progress that cannot be shown is no reason to stop.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

//! Progress for people: a spinner on a terminal, plain lines anywhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::screen::{is_watched, note};

/// One thing that takes a while. Everything goes to standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    last: String,
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl Progress {
    /// Begins to show that `what` is under way.
    pub(crate) fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        let spinner = is_watched().then(|| spinner(&what));
        if spinner.is_none() {
            note(format!("{what} …"));
        }
        Self {
            last: what.clone(),
            what,
            started: Instant::now(),
            spinner,
        }
    }

    /// Shows the latest news; the same news twice is shown once.
    pub(crate) fn news(&mut self, news: impl AsRef<str>) {
        let line = format!("{}: {}", self.what, news.as_ref());
        if line == self.last {
            return;
        }
        match &self.spinner {
            Some(spinner) => spinner.set_message(line.clone()),
            None => note(&line),
        }
        self.last = line;
    }

    /// It is done; `result` stays on the screen, with the time it took.
    pub(crate) fn done(self, result: impl AsRef<str>) {
        let (what, took) = (&self.what, self.started.elapsed().as_secs_f64());
        let result = result.as_ref();
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        note(format!("✓ {what:<24} {took:>6.1} s   {result}").trim_end());
    }

    /// It is over without success; the error is told elsewhere.
    pub(crate) fn given_up(self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        note(format!("✗ {}", self.what));
    }
}

fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.set_message(what.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

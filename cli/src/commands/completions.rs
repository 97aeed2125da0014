//! `ringmaster completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::screen::say;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// For which shell; for bash: source <(ringmaster completions bash)
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "ringmaster",
            &mut script,
        );
        say(String::from_utf8_lossy(&script))
    }
}

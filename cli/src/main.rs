//! The program `ringmaster`.

use std::process::ExitCode;

use clap::CommandFactory as _;
use cli::arguments::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    // Only one call in a process installs it, and this is the first.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("the TLS provider was installed before");
    }
    let matches = Arguments::command().get_matches();
    match cli::run(&matches).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::failure::report(&failure);
            failure.exit_code()
        }
    }
}

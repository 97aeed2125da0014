//! Log lines.

use std::error::Error;
use std::fmt;

use tracing::Span;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use crate::ids::RequestId;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("the log filter {filter:?} is not valid; examples: info, or info,workers=debug")]
    InvalidFilter {
        /// The filter as it was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else already receives this process's events.
    #[error("logging was already set up in this process")]
    AlreadySetUp(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends every event that passes `filter` (`info`, or `info,workers=debug`) to standard output as
/// logfmt, and says `at=start` for `service`.
///
/// # Errors
/// [`LogError`] for a filter that cannot be read, or the second time.
pub fn init_logging(service: &'static str, filter: &str) -> Result<(), LogError> {
    Registry::default()
        .with(parse_filter(filter)?)
        .with(logfmt_layer(std::io::stdout))
        .try_init()
        .map_err(LogError::AlreadySetUp)?;
    tracing::info!(
        at = "start",
        service,
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "process starts"
    );
    Ok(())
}

/// Checks a filter without using it.
pub(crate) fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogError::InvalidFilter {
            filter: filter.to_owned(),
            source,
        })
}

fn logfmt_layer<W>(writer: W) -> impl tracing_subscriber::Layer<WithFilter>
where
    W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_logfmt::builder()
        .with_span_name(false)
        .with_span_path(false)
        .layer()
        .with_writer(writer)
}

type WithFilter = tracing_subscriber::layer::Layered<EnvFilter, Registry>;

/// The span of one request or job: every event inside carries its `request_id`.
pub fn request_span(request_id: RequestId) -> Span {
    tracing::info_span!("request", %request_id)
}

/// An error with all its causes, `outer: middle: root`, for the field `error`:
/// `warn!(error = %chain(&error), "…")`.
pub fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl fmt::Display + 'e {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some libraries repeat their cause in their own text.
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

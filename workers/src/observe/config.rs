//! Configuration of feeling and of recording what was felt.

use std::time::Duration;

use clap::Args;

/// How databases are felt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct FeelConfig {
    /// Longest time until an answer, in milliseconds (100..=60000): connecting, if that is
    /// necessary, and one statement. What takes longer is an outage.
    #[arg(
        long,
        env = "RINGMASTER_FEEL_DEADLINE_MS",
        default_value_t = Self::DEFAULT.feel_deadline_ms,
        value_parser = clap::value_parser!(u64).range(100..=60_000)
    )]
    pub feel_deadline_ms: u64,
    /// Most connections that are being opened at the same time (1..=10000).
    #[arg(
        long,
        env = "RINGMASTER_FEEL_CONNECTING_MAX",
        default_value_t = Self::DEFAULT.feel_connecting_max,
        value_parser = clap::value_parser!(u16).range(1..=10_000)
    )]
    pub feel_connecting_max: u16,
    /// Seconds between two counts of tables and measurements of size, for databases that have a
    /// server of their own.
    #[arg(
        long,
        env = "RINGMASTER_SURVEY_EVERY_S",
        default_value_t = Self::DEFAULT.survey_every_s
    )]
    pub survey_every_s: u32,
    /// The same, for databases on shared servers. Each such survey opens one connection.
    #[arg(
        long,
        env = "RINGMASTER_SURVEY_SHARED_EVERY_S",
        default_value_t = Self::DEFAULT.survey_shared_every_s
    )]
    pub survey_shared_every_s: u32,
    /// Seconds after which a connection that nobody used is closed. Must be longer than the
    /// slowest cadence.
    #[arg(
        long,
        env = "RINGMASTER_FEEL_IDLE_AFTER_S",
        default_value_t = Self::DEFAULT.feel_idle_after_s
    )]
    pub feel_idle_after_s: u32,
}

impl FeelConfig {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        feel_deadline_ms: 2_000,
        feel_connecting_max: 128,
        survey_every_s: 60,
        survey_shared_every_s: 900,
        feel_idle_after_s: 600,
    };

    /// Longest time until an answer.
    pub(super) fn deadline(&self) -> Duration {
        Duration::from_millis(self.feel_deadline_ms)
    }

    /// Time after which an unused connection is closed.
    pub(super) fn idle_after(&self) -> Duration {
        Duration::from_secs(self.feel_idle_after_s.into())
    }

    /// Time between two surveys.
    pub(super) fn survey_every(&self, shared: bool) -> chrono::Duration {
        let seconds = if shared {
            self.survey_shared_every_s
        } else {
            self.survey_every_s
        };
        chrono::Duration::seconds(seconds.into())
    }
}

impl Default for FeelConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How observations are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct RecordConfig {
    /// Milliseconds that observations are gathered before they are written together (1..=60000).
    #[arg(
        long = "observation-flush-ms",
        id = "observation_flush_ms",
        env = "RINGMASTER_OBSERVATION_FLUSH_MS",
        default_value_t = Self::DEFAULT.flush_ms,
        value_parser = clap::value_parser!(u64).range(1..=60_000)
    )]
    pub flush_ms: u64,
    /// Most observations in one write (1..=1000). As many waiting ones are written at once.
    #[arg(
        long = "observation-batch-max",
        id = "observation_batch_max",
        env = "RINGMASTER_OBSERVATION_BATCH_MAX",
        default_value_t = Self::DEFAULT.batch_max,
        value_parser = clap::value_parser!(u16).range(1..=1_000)
    )]
    pub batch_max: u16,
    /// Seconds between two observations of a resource in the history. Changes of availability are
    /// always in it.
    #[arg(
        long = "observation-history-every-s",
        id = "observation_history_every_s",
        env = "RINGMASTER_OBSERVATION_HISTORY_EVERY_S",
        default_value_t = Self::DEFAULT.history_every_s
    )]
    pub history_every_s: u32,
    /// Most observations that wait for a control database that does not answer. Then the newest of
    /// each resource is kept, and those of the history are dropped, the oldest first.
    #[arg(
        long = "observation-waiting-max",
        id = "observation_waiting_max",
        env = "RINGMASTER_OBSERVATION_WAITING_MAX",
        default_value_t = Self::DEFAULT.waiting_max
    )]
    pub waiting_max: u32,
}

impl RecordConfig {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        flush_ms: 200,
        batch_max: 500,
        history_every_s: 60,
        waiting_max: 100_000,
    };

    /// Time that observations are gathered.
    pub(super) fn flush_every(&self) -> Duration {
        Duration::from_millis(self.flush_ms)
    }

    /// Most observations in one write.
    pub(super) fn batch_max(&self) -> usize {
        self.batch_max.into()
    }

    /// Time between two observations of a resource in the history.
    pub(super) fn history_every(&self) -> chrono::Duration {
        chrono::Duration::seconds(self.history_every_s.into())
    }

    /// Most observations that wait.
    pub(super) fn waiting_max(&self) -> usize {
        usize::try_from(self.waiting_max).unwrap_or(usize::MAX)
    }
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

//! Options of the API.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use shared::config::{
    ControlDatabaseOptions, EncryptionKeyOptions, LogOptions, RedisOptions, Validate,
};

/// The HTTP API of Ringmaster.
#[derive(Debug, Clone, Parser)]
#[command(name = "ringmaster-api", version)]
pub struct ApiOptions {
    /// Address to listen on. There is no TLS: loopback, or behind something that has it.
    #[arg(
        long,
        env = "RINGMASTER_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: SocketAddr,

    /// Limits of requests.
    #[command(flatten)]
    pub limits: LimitOptions,

    /// The control database.
    #[command(flatten)]
    pub database: ControlDatabaseOptions,

    /// Redis.
    #[command(flatten)]
    pub redis: RedisOptions,

    /// The key of secrets.
    #[command(flatten)]
    pub encryption_key: EncryptionKeyOptions,

    /// Logs.
    #[command(flatten)]
    pub log: LogOptions,
}

/// What one token and one process may do.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitOptions {
    /// Requests a second of one token, in the long run (1 to 1000000).
    #[arg(
        long,
        env = "RINGMASTER_RATE_LIMIT",
        value_name = "COUNT",
        default_value_t = 200,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub rate_limit: u32,

    /// Requests of one token at once, after a pause (1 to 1000000).
    #[arg(
        long,
        env = "RINGMASTER_RATE_BURST",
        value_name = "COUNT",
        default_value_t = 400,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub rate_burst: u32,

    /// Longest time in milliseconds for which a token that was revoked at another process is still
    /// taken (0 to 60000). 0 asks the control database each time.
    #[arg(
        long,
        env = "RINGMASTER_TOKEN_CACHE_MS",
        value_name = "MILLISECONDS",
        default_value_t = 3_000,
        value_parser = clap::value_parser!(u64).range(0..=60_000)
    )]
    pub token_cache_ms: u64,

    /// Most connections at a time (1 to 100000); more wait.
    #[arg(
        long,
        env = "RINGMASTER_HTTP_CONNECTIONS",
        value_name = "COUNT",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub http_connections: u32,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self {
            rate_limit: 200,
            rate_burst: 400,
            token_cache_ms: 3_000,
            http_connections: 1_000,
        }
    }
}

impl LimitOptions {
    /// How long a token is taken without asking the control database.
    pub fn token_cache(&self) -> Duration {
        Duration::from_millis(self.token_cache_ms)
    }
}

impl Validate for ApiOptions {
    fn problems(&self, problems: &mut Vec<String>) {
        self.database.problems(problems);
        self.redis.problems(problems);
        self.encryption_key.problems(problems);
        self.log.problems(problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_options() {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let matches = ApiOptions::try_parse_from([
            "ringmaster-api",
            "--database-url=postgres://x@127.0.0.1/x",
            "--redis-url=redis://127.0.0.1",
            &format!("--encryption-key={key}"),
        ]);
        let options = matches.unwrap();
        let mut problems = Vec::new();
        options.problems(&mut problems);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            format!("{:?}", options.limits),
            format!("{:?}", LimitOptions::default())
        );
    }
}

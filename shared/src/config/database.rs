//! Where the control database is.

use clap::Args;

use super::Validate;
use crate::secret::Secret;

/// Where the control database is, and how many connections this process may hold.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Control database")]
pub struct ControlDatabaseOptions {
    /// URL of the control database, `postgres://user:password@host:port/database`; only from the
    /// environment, for it holds a password.
    #[arg(
        long,
        env = "RINGMASTER_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: Secret,

    /// Most connections of this process to the control database (1 to 1000).
    #[arg(
        long,
        env = "RINGMASTER_DATABASE_CONNECTIONS",
        value_name = "COUNT",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub database_connections: u32,
}

impl Validate for ControlDatabaseOptions {
    fn problems(&self, problems: &mut Vec<String>) {
        let url = self.database_url.expose();
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            problems.push(
                "RINGMASTER_DATABASE_URL must begin with postgres:// (for example \
                 postgres://ringmaster:password@127.0.0.1:5432/ringmaster)"
                    .to_owned(),
            );
        }
    }
}

//! `ringmaster psql`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;
use reqwest::Url;
use shared::secret::Secret;

use super::Context;
use super::wait::url_of;
use crate::failure::{Failure, FailureKind};

/// Arguments of `psql`.
#[derive(Debug, Args)]
pub struct Psql {
    /// Name or id of the database
    name: String,
    /// Arguments for psql itself
    #[arg(last = true, value_name = "PSQL ARGUMENTS")]
    pub(crate) arguments: Vec<String>,
}

impl Psql {
    /// Becomes psql. The password goes through its environment: arguments are public.
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let url = url_of(&context.client, &self.name).await?;
        let mut psql = Command::new("psql");
        psql.args(&self.arguments);
        for (variable, value) in environment(&url.url)? {
            psql.env(variable, value.expose());
        }
        let error = psql.exec();
        let failure = Failure::new(
            FailureKind::Failed,
            format!("failed to start psql: {error}"),
        );
        Err(failure.advise(format!(
            "install it (Debian: apt-get install postgresql-client), or use another client with: \
             ringmaster url {}",
            self.name
        )))
    }
}

/// The URL as the variables that libpq reads.
fn environment(url: &Secret) -> Result<Vec<(&'static str, Secret)>, Failure> {
    let parsed = Url::parse(url.expose()).map_err(Failure::during("understand the URL"))?;
    let port = parsed.port().unwrap_or(5432).to_string();
    let host = parsed.host_str().unwrap_or_default();
    let mut variables = vec![
        ("PGHOST", host.trim_matches(['[', ']']).to_owned()),
        ("PGPORT", port),
        ("PGUSER", parsed.username().to_owned()),
        (
            "PGPASSWORD",
            parsed.password().unwrap_or_default().to_owned(),
        ),
        (
            "PGDATABASE",
            parsed.path().trim_start_matches('/').to_owned(),
        ),
    ];
    let mode = parsed.query_pairs().find(|(key, _)| key == "sslmode");
    variables.extend(mode.map(|(_, mode)| ("PGSSLMODE", mode.into_owned())));
    Ok(variables
        .into_iter()
        .map(|(name, value)| (name, Secret::new(value)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_the_variables_of_libpq() {
        let url = Secret::new("postgres://shop_1:s3cret@[::1]:6000/shop_db?sslmode=require");
        let variables = environment(&url).unwrap();
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.expose()))
            .collect();
        assert_eq!(
            variables,
            [
                ("PGHOST", "::1"),
                ("PGPORT", "6000"),
                ("PGUSER", "shop_1"),
                ("PGPASSWORD", "s3cret"),
                ("PGDATABASE", "shop_db"),
                ("PGSSLMODE", "require"),
            ]
        );
    }
}

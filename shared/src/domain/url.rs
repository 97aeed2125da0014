//! The URL a customer connects with.

use crate::secret::Secret;

/// Everything that is in the URL of a database.
#[derive(Debug, Clone)]
pub struct DatabaseUrl<'a> {
    /// Owner of the database.
    pub role: &'a str,
    /// Password of the owner; our own make, so it needs no quoting.
    pub password: &'a Secret,
    /// Host of the endpoint.
    pub host: &'a str,
    /// Port of the endpoint.
    pub port: u16,
    /// Name of the database.
    pub database: &'a str,
}

impl DatabaseUrl<'_> {
    /// The URL, as libpq and every driver read it. TLS is required.
    pub fn to_secret(&self) -> Secret {
        let Self {
            role,
            password,
            host,
            port,
            database,
        } = self;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            (*host).to_owned()
        };
        let password = password.expose();
        Secret::new(format!(
            "postgres://{role}:{password}@{host}:{port}/{database}?sslmode=require"
        ))
    }
}

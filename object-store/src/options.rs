//! Options of the object store.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use shared::config::{LogOptions, Validate};
use shared::secret::Secret;

/// Fewest characters of the secret: it is all that protects the archive on this machine.
const SECRET_CHARACTERS_MIN: usize = 16;

/// Keeps the archive of this machine: a small S3 on files.
#[derive(Debug, Clone, Parser)]
#[command(name = "ringmaster-object-store", version)]
#[expect(
    missing_docs,
    reason = "a doc comment on a flattened field would replace its help"
)]
pub struct ObjectStoreOptions {
    /// Directory of the objects, made if it is not there. One server for a directory at a time.
    #[arg(long, env = "RINGMASTER_OBJECT_STORE_ROOT", value_name = "DIRECTORY")]
    pub root: PathBuf,

    /// Where it listens. It speaks plain HTTP, so only addresses of the loopback interface are
    /// taken.
    #[arg(
        long,
        env = "RINGMASTER_OBJECT_STORE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9000"
    )]
    pub listen: SocketAddr,

    /// Bucket that is made at start if it is not there.
    #[arg(long, env = "RINGMASTER_OBJECT_STORE_BUCKET", value_name = "NAME")]
    pub bucket: Option<String>,

    /// Access key id that clients sign with.
    #[arg(
        long,
        env = "RINGMASTER_OBJECT_STORE_ACCESS_KEY_ID",
        value_name = "ID",
        default_value = "ringmaster"
    )]
    pub access_key_id: String,

    /// Secret access key that clients sign with, at least 16 characters; only from the
    /// environment.
    #[arg(
        long,
        env = "RINGMASTER_OBJECT_STORE_SECRET_ACCESS_KEY",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub secret_access_key: Secret,

    #[command(flatten)]
    pub log: LogOptions,
}

impl Validate for ObjectStoreOptions {
    fn problems(&self, problems: &mut Vec<String>) {
        self.log.problems(problems);
        if !self.root.is_absolute() {
            problems.push("--root: must be an absolute path".to_owned());
        }
        if !self.listen.ip().is_loopback() {
            problems.push(format!(
                "--listen: {} is not on the loopback interface, and plain HTTP shows everything; \
                 listen on 127.0.0.1",
                self.listen
            ));
        }
        if self.secret_access_key.expose().len() < SECRET_CHARACTERS_MIN {
            problems.push(format!(
                "RINGMASTER_OBJECT_STORE_SECRET_ACCESS_KEY must have at least \
                 {SECRET_CHARACTERS_MIN} characters"
            ));
        }
        if let Some(bucket) = &self.bucket
            && !s3s::path::check_bucket_name(bucket)
        {
            problems.push(format!(
                "--bucket: {bucket:?} cannot be the name of a bucket"
            ));
        }
    }
}

//! Any S3, by the SDK of AWS.

mod calls;
mod signing;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation,
};
use aws_smithy_http_client::{Builder, tls};
use bytes::Bytes;
use futures::future::BoxFuture;

use super::probe::{self, Capabilities};
use super::{Listed, ObjectStore, Put, StoreError};
use crate::agent_api::wal::Signed;
use crate::secret::Secret;

/// Longest time to a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// Longest time for one attempt: the largest object, on a slow line.
const ATTEMPT_PATIENCE: Duration = Duration::from_mins(1);

/// Longest time for a call, with its repetitions.
const CALL_PATIENCE: Duration = Duration::from_mins(2);

/// Attempts of one call; whoever calls tries again later by itself.
const ATTEMPTS: u32 = 3;

/// Where an S3 is, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// Its URL; null: AWS, by the region.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket, which exists.
    pub bucket: String,
    /// Put before every name: empty, or ends with a slash.
    pub prefix: String,
    /// Access key id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Secret,
    /// The bucket is in the path of URLs, not in the name of the host.
    pub path_style: bool,
    /// Who encrypts what is stored.
    pub encryption: Encryption,
}

/// Who encrypts what is stored, with which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// Nobody is asked to.
    None,
    /// The store, with a key of its own.
    Aes256,
    /// The store, with this key of its key management.
    Kms(String),
}

/// A bucket of an S3, or a part of it.
#[derive(Debug)]
pub struct S3Store {
    client: Client,
    bucket: String,
    prefix: String,
    encryption: Encryption,
    /// What the last probe found.
    found: Mutex<Option<Capabilities>>,
}

impl S3Store {
    /// A store with `settings`. Makes no call.
    pub fn new(settings: S3Settings) -> Self {
        let credentials = Credentials::new(
            settings.access_key_id,
            settings.secret_access_key.expose(),
            None,
            None,
            "ringmaster",
        );
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_PATIENCE)
            .operation_attempt_timeout(ATTEMPT_PATIENCE)
            .operation_timeout(CALL_PATIENCE);
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(settings.region))
            .credentials_provider(credentials)
            .force_path_style(settings.path_style)
            .http_client(Builder::new().tls_provider(provider).build_https())
            .timeout_config(timeouts.build())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            // Our objects carry their checksum inside, and not every store knows these.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(config.build()),
            bucket: settings.bucket,
            prefix: settings.prefix,
            encryption: settings.encryption,
            found: Mutex::default(),
        }
    }

    /// Whether the store itself refuses to write over an object when told so. Not taken for granted
    /// before it was found out.
    fn keeps_conditions(&self) -> bool {
        self.capabilities()
            .is_some_and(|found| found.conditional_put)
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

impl ObjectStore for S3Store {
    fn get<'a>(
        &'a self,
        key: &'a str,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(self.read(key, range))
    }

    fn put<'a>(&'a self, key: &'a str, content: Bytes) -> BoxFuture<'a, Result<Put, StoreError>> {
        Box::pin(async move {
            if !self.keeps_conditions() && self.is_there(key).await? {
                return Ok(Put::AlreadyThere);
            }
            self.write(key, content).await
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: u16,
    ) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        Box::pin(self.names(prefix, after, limit))
    }

    fn delete<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.remove(keys))
    }

    fn sign_get<'a>(
        &'a self,
        key: &'a str,
        valid_for: Duration,
    ) -> BoxFuture<'a, Result<Signed, StoreError>> {
        Box::pin(self.signed_get(key, valid_for))
    }

    fn sign_put<'a>(
        &'a self,
        key: &'a str,
        valid_for: Duration,
    ) -> BoxFuture<'a, Result<Signed, StoreError>> {
        Box::pin(self.signed_put(key, valid_for))
    }
    fn probe(&self) -> BoxFuture<'_, Result<Capabilities, StoreError>> {
        Box::pin(async move {
            let found = probe::probe(|content| Box::pin(self.write(probe::KEY, content))).await?;
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            Ok(found)
        })
    }

    fn capabilities(&self) -> Option<Capabilities> {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

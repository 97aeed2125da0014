//! The calls themselves.

use std::error::Error;
use std::ops::Range;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier, ServerSideEncryption};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;

use super::super::verdict::judge;
use super::super::{Listed, Put, StoreError};
use super::{Encryption, S3Store};
use crate::archive::verdict::Verdict;

impl S3Store {
    pub(super) async fn read(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, StoreError> {
        let range = range.map(|range| {
            let last = range.end.saturating_sub(1);
            format!("bytes={}-{last}", range.start)
        });
        let call = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.full(key))
            .set_range(range);
        match call.send().await {
            Ok(output) => match output.body.collect().await {
                Ok(body) => Ok(Some(body.into_bytes())),
                Err(error) => Err(transient("read", key, error)),
            },
            Err(error) => match judge(&error).0 {
                Verdict::Absent => Ok(None),
                Verdict::BeyondEnd => Ok(Some(Bytes::new())),
                Verdict::AlreadyThere | Verdict::Transient | Verdict::Refused => {
                    Err(failed("read", key, &error))
                }
            },
        }
    }

    /// Whether there is an object `key`.
    pub(super) async fn is_there(&self, key: &str) -> Result<bool, StoreError> {
        let call = self.client.head_object().bucket(&self.bucket);
        match call.key(self.full(key)).send().await {
            Ok(output) if output.e_tag().is_some() => Ok(true),
            Ok(_) => Err(transient("look for", key, "the answer has no ETag")),
            Err(error) => match judge(&error).0 {
                Verdict::Absent => Ok(false),
                Verdict::AlreadyThere
                | Verdict::BeyondEnd
                | Verdict::Transient
                | Verdict::Refused => Err(failed("look for", key, &error)),
            },
        }
    }

    /// Writes `key` on the condition that it is not there, as far as the store knows conditions.
    pub(super) async fn write(&self, key: &str, content: Bytes) -> Result<Put, StoreError> {
        let call = self.put_if_absent(key).body(ByteStream::from(content));
        match call.send().await {
            // Every S3 tells the tag of what it stored; what does not is an error in disguise.
            Ok(output) if output.e_tag().is_some() => Ok(Put::Stored),
            Ok(_) => Err(transient("write", key, "the answer has no ETag")),
            Err(error) => match judge(&error).0 {
                Verdict::AlreadyThere => Ok(Put::AlreadyThere),
                Verdict::Absent | Verdict::BeyondEnd | Verdict::Transient | Verdict::Refused => {
                    Err(failed("write", key, &error))
                }
            },
        }
    }

    /// The request that writes `key`, without its content.
    pub(super) fn put_if_absent(&self, key: &str) -> PutObjectFluentBuilder {
        let call = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full(key))
            .if_none_match("*");
        match &self.encryption {
            Encryption::None => call,
            Encryption::Aes256 => call.server_side_encryption(ServerSideEncryption::Aes256),
            Encryption::Kms(key) => call
                .server_side_encryption(ServerSideEncryption::AwsKms)
                .ssekms_key_id(key),
        }
    }

    pub(super) async fn names(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u16,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut names = Vec::new();
        let mut after = after.map(|after| self.full(after));
        let mut token = None;
        // A store may give less than asked for although there is more.
        loop {
            let wanted = usize::from(limit) - names.len();
            let call = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(self.full(prefix))
                .set_start_after(after)
                .set_continuation_token(token)
                .set_max_keys(i32::try_from(wanted).ok());
            let page = match call.send().await {
                Ok(page) => page,
                Err(error) => return Err(failed("list", prefix, &error)),
            };
            let more = page.is_truncated().unwrap_or(false);
            after = page.contents().last().and_then(|last| last.key.clone());
            token = page.next_continuation_token.filter(|_| after.is_none());
            for object in page.contents.unwrap_or_default().into_iter().take(wanted) {
                let key = object.key.unwrap_or_default();
                if let Some(short) = key.strip_prefix(&self.prefix) {
                    names.push(Listed {
                        key: short.to_owned(),
                        bytes: object.size.and_then(|n| n.try_into().ok()).unwrap_or(0),
                    });
                }
            }
            if !more || names.len() >= usize::from(limit) {
                return Ok(names);
            }
            // There may be none on a page, and more behind it.
            if after.is_none() && token.is_none() {
                return Err(StoreError::Refused {
                    operation: "list",
                    key: prefix.to_owned(),
                    reason: "it says that there is more, but not where".to_owned(),
                });
            }
        }
    }

    pub(super) async fn remove(&self, keys: &[String]) -> Result<(), StoreError> {
        let Some(first) = keys.first() else {
            return Ok(());
        };
        let named = |error| refused("delete", first, &error);
        let mut delete = Delete::builder().quiet(true);
        for key in keys {
            let object = ObjectIdentifier::builder().key(self.full(key)).build();
            delete = delete.objects(object.map_err(named)?);
        }
        let call = self.client.delete_objects().bucket(&self.bucket);
        let call = call.delete(delete.build().map_err(named)?);
        let output = match call.send().await {
            Ok(output) => output,
            Err(error) => return Err(failed("delete", first, &error)),
        };
        // One answer for all of them, with a success around it.
        let Some(error) = output.errors().first() else {
            return Ok(());
        };
        let key = error.key().unwrap_or(first).to_owned();
        let text = format!("{:?}: {:?}", error.code(), error.message());
        // What S3 says of single keys has no status.
        match error.code() {
            Some("AccessDenied" | "InvalidRequest" | "MethodNotAllowed" | "NotImplemented") => {
                Err(StoreError::Refused {
                    operation: "delete",
                    key,
                    reason: text,
                })
            }
            Some(_) | None => Err(transient("delete", &key, text)),
        }
    }
}

fn transient(
    operation: &'static str,
    key: &str,
    source: impl Into<Box<dyn Error + Send + Sync>>,
) -> StoreError {
    StoreError::Transient {
        operation,
        key: key.to_owned(),
        source: source.into(),
    }
}

/// A request that could not even be made.
pub(super) fn refused(operation: &'static str, key: &str, error: &dyn Error) -> StoreError {
    StoreError::Refused {
        operation,
        key: key.to_owned(),
        reason: error.to_string(),
    }
}

/// The error of a call that did not do what it should.
pub(super) fn failed<E>(
    operation: &'static str,
    key: &str,
    error: &SdkError<E, HttpResponse>,
) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (verdict, text) = judge(error);
    match verdict {
        Verdict::Transient => transient(operation, key, text),
        // An answer that makes no sense for this call is nothing that passes by itself.
        Verdict::Refused | Verdict::Absent | Verdict::AlreadyThere | Verdict::BeyondEnd => {
            StoreError::Refused {
                operation,
                key: key.to_owned(),
                reason: text,
            }
        }
    }
}

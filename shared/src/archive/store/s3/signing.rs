//! Requests that somebody else makes: signed here, without a call.

use std::time::Duration;

use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};

use super::super::StoreError;
use super::S3Store;
use super::calls::{failed, refused};
use crate::agent_api::wal::Signed;
use crate::secret::Secret;

impl S3Store {
    pub(super) async fn signed_get(
        &self,
        key: &str,
        valid_for: Duration,
    ) -> Result<Signed, StoreError> {
        let operation = "sign a read of";
        let lifetime = PresigningConfig::expires_in(valid_for)
            .map_err(|error| refused(operation, key, &error))?;
        let call = self.client.get_object().bucket(&self.bucket);
        match call.key(self.full(key)).presigned(lifetime).await {
            Ok(request) => Ok(signed(&request)),
            Err(error) => Err(failed(operation, key, &error)),
        }
    }

    pub(super) async fn signed_put(
        &self,
        key: &str,
        valid_for: Duration,
    ) -> Result<Signed, StoreError> {
        let operation = "sign a write of";
        let lifetime = PresigningConfig::expires_in(valid_for)
            .map_err(|error| refused(operation, key, &error))?;
        let mut write = match self.put_if_absent(key).presigned(lifetime).await {
            Ok(request) => signed(&request),
            Err(error) => return Err(failed(operation, key, &error)),
        };
        if !self.keeps_conditions() {
            write.look_first = Some(Box::new(self.signed_head(key, valid_for).await?));
        }
        Ok(write)
    }

    async fn signed_head(&self, key: &str, valid_for: Duration) -> Result<Signed, StoreError> {
        let operation = "sign a look for";
        let lifetime = PresigningConfig::expires_in(valid_for)
            .map_err(|error| refused(operation, key, &error))?;
        let call = self.client.head_object().bucket(&self.bucket);
        match call.key(self.full(key)).presigned(lifetime).await {
            Ok(request) => Ok(signed(&request)),
            Err(error) => Err(failed(operation, key, &error)),
        }
    }
}

fn signed(request: &PresignedRequest) -> Signed {
    let headers = request.headers();
    Signed {
        url: Secret::new(request.uri()),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        look_first: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Encryption, S3Settings};
    use super::*;
    use crate::archive::store::ObjectStore as _;

    fn store(encryption: Encryption) -> S3Store {
        S3Store::new(S3Settings {
            endpoint: None,
            region: "eu-central-1".to_owned(),
            bucket: "archive".to_owned(),
            prefix: "fleet/".to_owned(),
            access_key_id: "AKIA".to_owned(),
            secret_access_key: Secret::new("very secret"),
            path_style: false,
            encryption,
        })
    }

    async fn headers_of_put(encryption: Encryption) -> BTreeMap<String, String> {
        let valid_for = Duration::from_mins(5);
        let signed = store(encryption).sign_put("a/b", valid_for).await.unwrap();
        let url = signed.url.expose();
        let names = url.split("X-Amz-SignedHeaders=").nth(1).unwrap();
        let names = names.split('&').next().unwrap();
        for name in signed.headers.keys() {
            let is_signed = names.split("%3B").any(|one| one == name);
            assert!(is_signed, "{name} can be left out: {names}");
        }
        signed.headers
    }

    #[tokio::test]
    async fn a_write_is_signed_with_its_condition_and_nothing_else() {
        let headers = headers_of_put(Encryption::None).await;
        let expected = BTreeMap::from([("if-none-match".to_owned(), "*".to_owned())]);
        assert_eq!(headers, expected);
    }

    #[tokio::test]
    async fn a_write_is_signed_with_its_encryption() {
        let headers = headers_of_put(Encryption::Aes256).await;
        assert_eq!(headers["x-amz-server-side-encryption"], "AES256");
        let headers = headers_of_put(Encryption::Kms("a-key".to_owned())).await;
        assert_eq!(headers["x-amz-server-side-encryption"], "aws:kms");
        let key = &headers["x-amz-server-side-encryption-aws-kms-key-id"];
        assert_eq!(key, "a-key");
    }

    #[tokio::test]
    async fn a_url_says_where_and_for_how_long_and_carries_no_secret() {
        let store = store(Encryption::Aes256);
        let signed = store.sign_get("a/b", Duration::from_mins(5)).await.unwrap();
        let url = signed.url.expose();
        let place = "https://archive.s3.eu-central-1.amazonaws.com/fleet/a/b?";
        assert!(url.starts_with(place), "{url}");
        assert!(url.contains("X-Amz-Expires=300"), "{url}");
        assert!(!url.contains("very secret"), "{url}");
        assert!(!url.contains("checksum"), "{url}");
        assert_eq!(signed.headers, BTreeMap::new());
    }

    #[tokio::test]
    async fn longer_than_a_week_cannot_be_signed() {
        let store = store(Encryption::None);
        let refused = store.sign_put("a", Duration::from_hours(24 * 8)).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })));
    }
}

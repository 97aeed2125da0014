//! Checksums that a client sends with an object: one that does not have them is refused.

use std::collections::BTreeMap;

use s3s::checksum::ChecksumHasher;
use s3s::dto::{Checksum, PutObjectInput};
use s3s::{S3Request, S3Result, TrailingHeaders, s3_error};

/// A kind of checksum: its header, how it is computed, and where the result is.
type Kind = (
    &'static str,
    fn(&mut ChecksumHasher),
    fn(&Checksum) -> Option<&String>,
);

const KINDS: [Kind; 5] = [
    (
        "x-amz-checksum-crc32",
        |hasher| hasher.crc32 = Some(s3s::crypto::Crc32::default()),
        |checksum| checksum.checksum_crc32.as_ref(),
    ),
    (
        "x-amz-checksum-crc32c",
        |hasher| hasher.crc32c = Some(s3s::crypto::Crc32c::default()),
        |checksum| checksum.checksum_crc32c.as_ref(),
    ),
    (
        "x-amz-checksum-crc64nvme",
        |hasher| hasher.crc64nvme = Some(s3s::crypto::Crc64Nvme::default()),
        |checksum| checksum.checksum_crc64nvme.as_ref(),
    ),
    (
        "x-amz-checksum-sha1",
        |hasher| hasher.sha1 = Some(s3s::crypto::Sha1::default()),
        |checksum| checksum.checksum_sha1.as_ref(),
    ),
    (
        "x-amz-checksum-sha256",
        |hasher| hasher.sha256 = Some(s3s::crypto::Sha256::default()),
        |checksum| checksum.checksum_sha256.as_ref(),
    ),
];

/// What was promised of a content. Where nothing was, nothing is computed: the archive's own
/// uploads carry their checksum inside.
pub(super) struct Checksums {
    hasher: ChecksumHasher,
    /// Header and value; null: it comes after the body.
    promised: BTreeMap<&'static str, Option<String>>,
    trailing: Option<TrailingHeaders>,
}

impl Checksums {
    /// What the headers promise, and what they say that comes after the body.
    pub(super) fn of(request: &S3Request<PutObjectInput>) -> S3Result<Self> {
        if request.input.content_md5.is_some() {
            return Err(s3_error!(NotImplemented, "Content-MD5 is not checked here"));
        }
        let header = |name: &str| request.headers.get(name)?.to_str().ok();
        let trailers = header("x-amz-trailer").unwrap_or_default();
        let mut hasher = ChecksumHasher::default();
        let mut promised = BTreeMap::new();
        for (name, compute, _) in KINDS {
            let value = header(name).map(ToOwned::to_owned);
            if value.is_some() || trailers.split(',').any(|one| one.trim() == name) {
                compute(&mut hasher);
                promised.insert(name, value);
            }
        }
        Ok(Self {
            hasher,
            promised,
            trailing: request.trailing_headers.clone(),
        })
    }

    /// Takes the next bytes of the content.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if !self.promised.is_empty() {
            self.hasher.update(bytes);
        }
    }

    /// Compares, after the last byte.
    pub(super) fn check(self) -> S3Result<()> {
        let trailers = self.trailing.and_then(|trailing| trailing.take());
        let computed = self.hasher.finalize();
        for (name, _, result) in KINDS {
            let Some(promised) = self.promised.get(name) else {
                continue;
            };
            let trailer = || trailers.as_ref()?.get(name)?.to_str().ok();
            if promised.as_deref().or_else(trailer) != result(&computed).map(String::as_str) {
                return Err(s3_error!(
                    BadDigest,
                    "The content does not have the {name} sent"
                ));
            }
        }
        Ok(())
    }
}

//! Checksums that a client sends with an object: one that does not have them is refused.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::Checksum;
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
    /// `Content-MD5`, and what it is compared with.
    md5: Option<(String, Md5)>,
}

impl Checksums {
    /// What the headers promise, and what they say that comes after the body.
    pub(super) fn of<T>(request: &S3Request<T>) -> Self {
        let header = |name: &str| request.headers.get(name)?.to_str().ok();
        let md5 = header("content-md5").map(|promised| (promised.to_owned(), Md5::new()));
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
        Self {
            hasher,
            promised,
            trailing: request.trailing_headers.clone(),
            md5,
        }
    }

    /// Takes the next bytes of the content.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if !self.promised.is_empty() {
            self.hasher.update(bytes);
        }
        if let Some((_, md5)) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    /// Compares, after the last byte. Gives the MD5 in hexadecimal if it was promised: clients that
    /// send it take the tag of an object for it.
    pub(super) fn check(self) -> S3Result<Option<String>> {
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
        let Some((promised, md5)) = self.md5 else {
            return Ok(None);
        };
        let computed = md5.finalize();
        if promised != STANDARD.encode(computed) {
            return Err(s3_error!(
                BadDigest,
                "The content does not have the MD5 sent"
            ));
        }
        Ok(Some(computed.iter().fold(String::new(), |text, byte| {
            text + &format!("{byte:02x}")
        })))
    }
}

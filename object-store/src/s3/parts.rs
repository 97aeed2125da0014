//! Uploads in parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;
use s3s::dto::{
    AbortMultipartUploadInput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, ETagCondition, StreamingBlob,
    UploadPartInput,
};
use s3s::stream::ByteStream as _;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::checksums::Checksums;
use super::{BATCH, Files};
use crate::disk::{Attributes, DiskError, Mode, Part, Pending, Placed};

/// Ids are good for one life of this process, as uploads are.
static BEGUN: AtomicU64 = AtomicU64::new(0);

pub(super) async fn begin(
    files: &Files,
    input: CreateMultipartUploadInput,
) -> S3Result<CreateMultipartUploadOutput> {
    let encrypted = input.server_side_encryption.is_some()
        || input.sse_customer_algorithm.is_some()
        || input.ssekms_key_id.is_some();
    if encrypted || input.tagging.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "Encryption and tags are not known here"
        ));
    }
    let id = format!("upload-{}", BEGUN.fetch_add(1, Ordering::Relaxed));
    let of = (input.bucket.clone(), input.key.clone());
    let attributes = Attributes {
        content_type: input.content_type,
        metadata: input.metadata.unwrap_or_default().into_iter().collect(),
        md5: None,
    };
    let new = id.clone();
    files
        .blocking(move |disk| Ok(disk.begin_parts(new, of, attributes)?))
        .await?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        ..CreateMultipartUploadOutput::default()
    })
}

/// Takes in a part; gives its tag.
pub(super) async fn part(
    files: &Files,
    input: UploadPartInput,
    mut checksums: Checksums,
) -> S3Result<ETag> {
    let body = input.body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let bytes = body
        .remaining_length()
        .exact()
        .or_else(|| usize::try_from(input.content_length?).ok());
    let bytes = bytes.ok_or_else(|| s3_error!(MissingContentLength))?;
    let bytes = u64::try_from(bytes).map_err(|_| s3_error!(EntityTooLarge))?;
    let number = u64::try_from(input.part_number).map_err(|_| s3_error!(InvalidPart))?;
    let of = (input.bucket.as_str(), input.key.as_str());
    let pending = files.0.in_parts(&input.upload_id, of)?;
    let at = pending.begin(number, bytes)?;
    let mut ending = Ending {
        pending: Arc::clone(&pending),
        number,
        part: None,
    };
    take_in(files, &pending, body, (at, bytes), &mut checksums).await?;
    let tag = checksums.check()?;
    let tag = tag.unwrap_or_else(|| format!("{number:x}-{at:x}-{bytes:x}"));
    ending.part = Some(Part {
        at,
        bytes,
        tag: tag.clone(),
    });
    Ok(ETag::Strong(tag))
}

/// Ends a part, whatever becomes of the request.
struct Ending {
    pending: Arc<Pending>,
    number: u64,
    part: Option<Part>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.pending.end(self.number, self.part.take());
    }
}

async fn take_in(
    files: &Files,
    pending: &Arc<Pending>,
    mut body: StreamingBlob,
    (begin, bytes): (u64, u64),
    checksums: &mut Checksums,
) -> S3Result<()> {
    let (mut batch, mut gathered, mut at) = (Vec::new(), 0, begin);
    loop {
        let piece = body.next().await.transpose();
        let piece =
            piece.map_err(|error| S3Error::with_source(S3ErrorCode::IncompleteBody, error))?;
        let is_last = piece.is_none();
        if let Some(piece) = piece {
            checksums.update(&piece);
            gathered += piece.len();
            batch.push(piece);
        }
        if !is_last && gathered < BATCH {
            continue;
        }
        let length = u64::try_from(std::mem::take(&mut gathered)).unwrap_or(u64::MAX);
        if at + length > begin + bytes {
            return Err(s3_error!(IncompleteBody, "It is longer than was said"));
        }
        let (pending, full) = (Arc::clone(pending), std::mem::take(&mut batch));
        let mut next = at;
        files
            .blocking(move |_| {
                for piece in full {
                    pending.write_at(&piece, next).map_err(DiskError::Io)?;
                    next += u64::try_from(piece.len()).unwrap_or(u64::MAX);
                }
                Ok(())
            })
            .await?;
        at += length;
        if is_last {
            break;
        }
    }
    if at != begin + bytes {
        return Err(s3_error!(IncompleteBody, "It is shorter than was said"));
    }
    Ok(())
}

pub(super) async fn complete(
    files: &Files,
    input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    let mode = match input.if_none_match {
        None => Mode::Overwrite,
        Some(ETagCondition::Any) => Mode::IfAbsent,
        Some(ETagCondition::ETag(_)) => {
            return Err(s3_error!(NotImplemented, "If-None-Match must be *"));
        }
    };
    if input.if_match.is_some() {
        return Err(s3_error!(NotImplemented, "If-Match is not known here"));
    }
    let parts = input.multipart_upload.and_then(|upload| upload.parts);
    let mut named = Vec::new();
    for part in parts.unwrap_or_default() {
        let number = part
            .part_number
            .and_then(|number| u64::try_from(number).ok());
        let (Some(number), Some(tag)) = (number, part.e_tag) else {
            return Err(s3_error!(InvalidPart));
        };
        named.push((number, tag.into_value()));
    }
    let (id, bucket, key) = (input.upload_id, input.bucket.clone(), input.key.clone());
    let placed = files
        .blocking(move |disk| Ok(disk.complete_parts(&id, (&bucket, &key), &named, mode)?))
        .await?;
    match placed {
        Placed::Stored(found) => Ok(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(found.tag)),
            ..CompleteMultipartUploadOutput::default()
        }),
        Placed::AlreadyThere => Err(s3_error!(
            PreconditionFailed,
            "An object of this name is there"
        )),
    }
}

pub(super) async fn abort(files: &Files, input: AbortMultipartUploadInput) -> S3Result<()> {
    files
        .blocking(move |disk| Ok(disk.abort_parts(&input.upload_id, (&input.bucket, &input.key))?))
        .await
}

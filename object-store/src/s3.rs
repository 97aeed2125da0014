//! The operations of S3 on a [`Disk`].

mod checksums;
mod listing;
mod parts;
mod reading;

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateBucketInput, CreateBucketOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput,
    PutObjectOutput, StreamingBlob, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use shared::telemetry::chain;
use tokio::task::spawn_blocking;

use crate::disk::{Attributes, Disk, DiskError, Found, Mode, Placed, Upload};
use checksums::Checksums;
use reading::Reading;

/// Bytes of a body that are gathered before they are written: memory of one upload. An object that
/// is smaller is written in one go.
const BATCH: usize = 512 * 1024;

/// Most keys of one `DeleteObjects`, as with S3.
const DELETE_MAX: usize = 1000;

/// S3 on files.
#[derive(Debug, Clone)]
pub(crate) struct Files(pub(crate) Arc<Disk>);

impl Files {
    /// Does what blocks.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> S3Result<T> + Send + 'static,
    ) -> S3Result<T> {
        let disk = Arc::clone(&self.0);
        spawn_blocking(move || work(&disk))
            .await
            .unwrap_or_else(|error| Err(s3_error!(error, InternalError)))
    }

    /// Takes in a body and makes it an object.
    async fn upload(
        &self,
        body: StreamingBlob,
        mut checksums: Checksums,
        target: Target,
    ) -> S3Result<Placed> {
        let mut body = body;
        let mut upload = None;
        let (mut batch, mut gathered) = (Vec::new(), 0);
        while let Some(piece) = body.next().await {
            let piece =
                piece.map_err(|error| S3Error::with_source(S3ErrorCode::IncompleteBody, error))?;
            checksums.update(&piece);
            gathered += piece.len();
            batch.push(piece);
            if gathered >= BATCH {
                let full = std::mem::take(&mut batch);
                gathered = 0;
                upload = Some(self.blocking(move |disk| write(disk, upload, full)).await?);
            }
        }
        let md5 = checksums.check()?;
        self.blocking(move |disk| {
            let upload = write(disk, upload, batch)?;
            let Target {
                bucket,
                key,
                mode,
                attributes,
            } = target;
            let attributes = Attributes { md5, ..attributes };
            upload
                .place(disk, &bucket, &key, mode, &attributes)
                .map_err(S3Error::from)
        })
        .await
    }
}

/// Where an upload goes.
struct Target {
    bucket: String,
    key: String,
    mode: Mode,
    attributes: Attributes,
}

fn write(disk: &Disk, upload: Option<Upload>, batch: Vec<Bytes>) -> S3Result<Upload> {
    let mut upload = match upload {
        Some(upload) => upload,
        None => disk.begin_upload().map_err(S3Error::from)?,
    };
    for piece in batch {
        upload
            .write(&piece)
            .map_err(DiskError::Io)
            .map_err(S3Error::from)?;
    }
    Ok(upload)
}

impl From<DiskError> for S3Error {
    /// What a client is told; the cause of what is not its fault is logged.
    fn from(error: DiskError) -> Self {
        let text = error.to_string();
        let code = match error {
            DiskError::BadBucketName(_) => S3ErrorCode::InvalidBucketName,
            DiskError::NoSuchBucket(_) => S3ErrorCode::NoSuchBucket,
            DiskError::NoMetadata => S3ErrorCode::NotImplemented,
            DiskError::MetadataTooLarge => S3ErrorCode::MetadataTooLarge,
            DiskError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            DiskError::BadParts => S3ErrorCode::InvalidPart,
            DiskError::Io(_) | DiskError::Taken(_) => {
                tracing::error!(error = %chain(&error), "a request failed");
                S3ErrorCode::InternalError
            }
        };
        Self::with_message(code, text)
    }
}

/// Refuses what would change the meaning of an upload if it were left out.
fn only_what_we_do(input: &PutObjectInput) -> S3Result<Mode> {
    let encrypted = input.server_side_encryption.is_some()
        || input.sse_customer_algorithm.is_some()
        || input.ssekms_key_id.is_some();
    if encrypted {
        return Err(s3_error!(NotImplemented, "This store does not encrypt"));
    }
    if input.if_match.is_some() || input.write_offset_bytes.is_some() || input.tagging.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "If-Match, appending and tags are not known here"
        ));
    }
    match input.if_none_match {
        None => Ok(Mode::Overwrite),
        Some(ETagCondition::Any) => Ok(Mode::IfAbsent),
        Some(ETagCondition::ETag(_)) => Err(s3_error!(NotImplemented, "If-None-Match must be *")),
    }
}

fn open(disk: &Disk, bucket: &str, key: &str) -> S3Result<(File, Found, Attributes)> {
    disk.open_object(bucket, key)
        .map_err(S3Error::from)?
        .ok_or_else(|| s3_error!(NoSuchKey))
}

fn no_conditions(present: [bool; 6]) -> S3Result<()> {
    if present.contains(&true) {
        let text = "Conditions, parts and versions are not known to reads here";
        return Err(s3_error!(NotImplemented, "{text}"));
    }
    Ok(())
}

#[async_trait]
impl S3 for Files {
    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let mode = only_what_we_do(&request.input)?;
        let checksums = Checksums::of(&request);
        let input = request.input;
        let body = input.body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let target = Target {
            bucket: input.bucket,
            key: input.key,
            mode,
            attributes: Attributes {
                content_type: input.content_type,
                metadata: input.metadata.unwrap_or_default().into_iter().collect(),
                md5: None,
            },
        };
        match self.upload(body, checksums, target).await? {
            Placed::Stored(found) => Ok(S3Response::new(PutObjectOutput {
                e_tag: Some(ETag::Strong(found.tag)),
                ..PutObjectOutput::default()
            })),
            Placed::AlreadyThere => Err(s3_error!(
                PreconditionFailed,
                "An object of this name is there"
            )),
        }
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        parts::begin(self, request.input).await.map(S3Response::new)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let checksums = Checksums::of(&request);
        let tag = parts::part(self, request.input, checksums).await?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(tag),
            ..UploadPartOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let completed = parts::complete(self, request.input).await;
        completed.map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        parts::abort(self, request.input).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        no_conditions([
            input.if_match.is_some(),
            input.if_none_match.is_some(),
            input.if_modified_since.is_some(),
            input.if_unmodified_since.is_some(),
            input.part_number.is_some(),
            input.version_id.is_some(),
        ])?;
        self.blocking(move |disk| {
            let (file, found, attributes) = open(disk, &input.bucket, &input.key)?;
            let wanted = match input.range {
                None => 0..found.bytes,
                Some(range) => range.check(found.bytes)?,
            };
            let (first, last) = (wanted.start, wanted.end.saturating_sub(1));
            let content_range = format!("bytes {first}-{last}/{}", found.bytes);
            let length = i64::try_from(wanted.end - wanted.start).ok();
            let reading = Reading::begin(file, wanted)
                .map_err(DiskError::Io)
                .map_err(S3Error::from)?;
            Ok(S3Response::new(GetObjectOutput {
                body: Some(StreamingBlob::new(reading)),
                content_length: length,
                content_range: input.range.map(|_| content_range),
                accept_ranges: Some("bytes".to_owned()),
                e_tag: Some(ETag::Strong(found.tag)),
                last_modified: Some(Timestamp::from(found.modified)),
                content_type: attributes.content_type,
                metadata: Some(attributes.metadata.into_iter().collect()),
                ..GetObjectOutput::default()
            }))
        })
        .await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        no_conditions([
            input.if_match.is_some(),
            input.if_none_match.is_some(),
            input.if_modified_since.is_some(),
            input.if_unmodified_since.is_some(),
            input.part_number.is_some() || input.range.is_some(),
            input.version_id.is_some(),
        ])?;
        self.blocking(move |disk| {
            let (_, found, attributes) = open(disk, &input.bucket, &input.key)?;
            Ok(S3Response::new(HeadObjectOutput {
                content_length: i64::try_from(found.bytes).ok(),
                accept_ranges: Some("bytes".to_owned()),
                e_tag: Some(ETag::Strong(found.tag)),
                last_modified: Some(Timestamp::from(found.modified)),
                content_type: attributes.content_type,
                metadata: Some(attributes.metadata.into_iter().collect()),
                ..HeadObjectOutput::default()
            }))
        })
        .await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput { bucket, key, .. } = request.input;
        self.blocking(move |disk| disk.delete(&bucket, &key).map_err(S3Error::from))
            .await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket, delete, .. } = request.input;
        if delete.objects.len() > DELETE_MAX {
            return Err(s3_error!(MalformedXML, "More than {DELETE_MAX} keys"));
        }
        let quiet = delete.quiet.unwrap_or(false);
        let deleted = self
            .blocking(move |disk| {
                let keys = delete.objects.into_iter().map(|object| object.key);
                disk.delete_all(&bucket, keys).map_err(S3Error::from)
            })
            .await?;
        let deleted = deleted.into_iter().map(|key| DeletedObject {
            key: Some(key),
            ..DeletedObject::default()
        });
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then(|| deleted.collect()),
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.blocking(move |disk| listing::list(disk, request.input))
            .await
            .map(S3Response::new)
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = request.input.bucket;
        let made = self
            .blocking(move |disk| disk.make_bucket(&bucket).map_err(S3Error::from))
            .await?;
        if made {
            Ok(S3Response::new(CreateBucketOutput::default()))
        } else {
            Err(s3_error!(BucketAlreadyOwnedByYou))
        }
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let bucket = request.input.bucket;
        self.blocking(move |disk| disk.bucket(&bucket).map_err(S3Error::from))
            .await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn list_buckets(
        &self,
        _: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let buckets = self
            .blocking(|disk| disk.list_buckets().map_err(S3Error::from))
            .await?;
        let buckets = buckets.into_iter().map(|(name, made)| Bucket {
            name: Some(name),
            creation_date: Some(Timestamp::from(made)),
            ..Bucket::default()
        });
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            ..ListBucketsOutput::default()
        }))
    }
}

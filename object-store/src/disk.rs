//! Buckets and objects as directories and files. Everything here blocks.

mod attributes;
mod directories;
mod parts;
mod upload;
mod walk;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

use crate::names;
use directories::Directories;

pub(crate) use attributes::Attributes;
pub(crate) use parts::{Part, Pending};
pub(crate) use upload::{Mode, Placed, Upload};
pub(crate) use walk::{Step, Visit, Wanted};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another server has this root.
    #[error("another object store runs on {0}")]
    Taken(PathBuf),
    /// A name that no bucket may have.
    #[error("{0:?} cannot be the name of a bucket")]
    BadBucketName(String),
    /// There is no such bucket.
    #[error("there is no bucket {0:?}")]
    NoSuchBucket(String),
    /// There is no such upload in parts.
    #[error("there is no such upload")]
    NoSuchUpload,
    /// A part that was not uploaded, or parts that are not in order.
    #[error("the parts are not those that were uploaded, in order")]
    BadParts,
    /// The file system keeps no extended attributes, and metadata was sent.
    #[error("the file system of the object store keeps no metadata")]
    NoMetadata,
    /// More metadata than an object may have.
    #[error("the metadata is too large")]
    MetadataTooLarge,
    /// The file system failed.
    #[error("the file system failed")]
    Io(#[from] io::Error),
}

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Bytes.
    pub(crate) bytes: u64,
    /// When its upload ended.
    pub(crate) modified: SystemTime,
    /// Differs between any two contents that a name ever had.
    pub(crate) tag: String,
}

impl Found {
    /// From the metadata of its file, which is never changed once it has a name, and the MD5 that
    /// came with it.
    fn of(metadata: &Metadata, md5: Option<String>) -> io::Result<Self> {
        Ok(Self {
            bytes: metadata.len(),
            modified: metadata.modified()?,
            tag: md5.unwrap_or_else(|| {
                format!(
                    "{:x}-{:x}-{:x}-{:x}",
                    metadata.ino(),
                    metadata.mtime(),
                    metadata.mtime_nsec(),
                    metadata.len()
                )
            }),
        })
    }
}

/// The files of a server.
#[derive(Debug)]
pub struct Disk {
    buckets: PathBuf,
    uploads: PathBuf,
    directories: Directories,
    uploads_begun: AtomicU64,
    in_parts: parts::All,
    /// Held as long as we are.
    _lock: File,
}

impl Disk {
    /// Opens the files at `root`, or makes them. Uploads that never ended are removed.
    ///
    /// # Errors
    /// [`DiskError::Taken`] if another server has them; [`DiskError::Io`].
    pub fn open(root: &Path) -> Result<Self, DiskError> {
        // Whoever can read the files can read every database.
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let lock = File::create(root.join("lock"))?;
        match flock(lock.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DiskError::Taken(root.to_owned())),
            locked => locked.map_err(io::Error::from)?,
        }
        let (buckets, uploads) = (root.join("buckets"), root.join("uploads"));
        if let Err(error) = fs::remove_dir_all(&uploads)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error.into());
        }
        fs::create_dir_all(&buckets)?;
        fs::create_dir_all(&uploads)?;
        File::open(root)?.sync_all()?;
        Ok(Self {
            directories: Directories::below(buckets.clone()),
            buckets,
            uploads,
            uploads_begun: AtomicU64::new(0),
            in_parts: parts::All::default(),
            _lock: lock,
        })
    }

    /// Makes a bucket; false if it was there.
    ///
    /// # Errors
    /// [`DiskError::BadBucketName`], [`DiskError::Io`].
    pub fn make_bucket(&self, bucket: &str) -> Result<bool, DiskError> {
        Ok(self.directories.make_first(&self.path_of_bucket(bucket)?)?)
    }

    /// Whether the files can be read.
    ///
    /// # Errors
    /// [`DiskError::Io`] if they cannot.
    pub fn check(&self) -> Result<(), DiskError> {
        fs::metadata(&self.uploads)?;
        fs::read_dir(&self.buckets)?;
        Ok(())
    }

    /// The names of all buckets, in order, and when they were made.
    pub(crate) fn list_buckets(&self) -> Result<Vec<(String, SystemTime)>, DiskError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.buckets)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, entry.metadata()?.modified()?));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The directory of a bucket.
    pub(crate) fn bucket(&self, bucket: &str) -> Result<PathBuf, DiskError> {
        let path = self.path_of_bucket(bucket)?;
        match fs::metadata(&path) {
            Ok(_) => Ok(path),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(DiskError::NoSuchBucket(bucket.to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn path_of_bucket(&self, bucket: &str) -> Result<PathBuf, DiskError> {
        if s3s::path::check_bucket_name(bucket) {
            Ok(self.buckets.join(bucket))
        } else {
            Err(DiskError::BadBucketName(bucket.to_owned()))
        }
    }

    /// Begins an upload.
    pub(crate) fn begin_upload(&self) -> Result<Upload, DiskError> {
        let number = self.uploads_begun.fetch_add(1, Ordering::Relaxed);
        Ok(Upload::begin(self.uploads.join(number.to_string()))?)
    }

    /// Opens an object; null if there is none.
    pub(crate) fn open_object(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<Option<(File, Found, Attributes)>, DiskError> {
        let path = self.bucket(bucket)?.join(names::path_of(key));
        match File::open(path) {
            Ok(file) => {
                let attributes = Attributes::of(&file)?;
                let found = Found::of(&file.metadata()?, attributes.md5.clone())?;
                Ok(Some((file, found, attributes)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What is known of the object whose file is at `path`; null if it has vanished.
    pub(crate) fn look(path: &Path) -> io::Result<Option<Found>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Found::of(&metadata, attributes::md5_of(path)?).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Visits objects of a bucket in the order of their names.
    pub(crate) fn walk(
        &self,
        bucket: &str,
        wanted: Wanted<'_>,
        visit: Visit<'_>,
    ) -> Result<(), DiskError> {
        Ok(walk::walk(&self.bucket(bucket)?, wanted, visit)?)
    }

    /// Deletes an object, if it is there, and the directories that nothing is left in.
    pub(crate) fn delete(&self, bucket: &str, key: &str) -> Result<(), DiskError> {
        self.delete_all(bucket, [key.to_owned()]).map(drop)
    }

    /// Deletes objects; gives their names back.
    pub(crate) fn delete_all(
        &self,
        bucket: &str,
        keys: impl IntoIterator<Item = String>,
    ) -> Result<Vec<String>, DiskError> {
        let directory = self.bucket(bucket)?;
        let mut parents = BTreeSet::new();
        let mut deleted = Vec::new();
        for key in keys {
            let path = directory.join(names::path_of(&key));
            match fs::remove_file(&path) {
                Ok(()) => parents.extend(path.parent().map(ToOwned::to_owned)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            deleted.push(key);
        }
        for parent in parents {
            Directories::sync_removal(&parent)?;
            self.directories.prune(&parent);
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests;

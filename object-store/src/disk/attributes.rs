//! What a client says about an object (`x-amz-meta-…`, its type): extended attributes of the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr, lgetxattr};
use rustix::io::Errno;

use super::DiskError;

/// Most bytes of names and values, as with S3.
const BYTES_MAX: usize = 2048;

/// Most bytes of the list of attributes of a file: Linux has no longer ones.
const LIST_BYTES_MAX: usize = 64 * 1024;

const META: &str = "user.s3.meta.";
const CONTENT_TYPE: &str = "user.s3.content-type";
const MD5: &str = "user.s3.md5";

/// What a client said about an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// `Content-Type`.
    pub(crate) content_type: Option<String>,
    /// `x-amz-meta-…`, without this beginning.
    pub(crate) metadata: BTreeMap<String, String>,
    /// MD5 of the content in hexadecimal, if the client had sent it: the object's tag then.
    pub(crate) md5: Option<String>,
}

impl Attributes {
    /// Writes them to the file of an object.
    pub(super) fn write_to(&self, file: &File) -> Result<(), DiskError> {
        let metadata = self
            .metadata
            .iter()
            .map(|(name, value)| (format!("{META}{name}"), value));
        let content_type = self
            .content_type
            .iter()
            .map(|value| (CONTENT_TYPE.to_owned(), value));
        let md5 = self.md5.iter().map(|value| (MD5.to_owned(), value));
        let all: Vec<(String, &String)> = metadata.chain(content_type).chain(md5).collect();
        let bytes: usize = all
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > BYTES_MAX {
            return Err(DiskError::MetadataTooLarge);
        }
        for (name, value) in all {
            match fsetxattr(file.as_fd(), name, value.as_bytes(), XattrFlags::empty()) {
                Ok(()) => {}
                // Without it an object is served as bytes, which it is.
                Err(Errno::OPNOTSUPP) if self.metadata.is_empty() && self.md5.is_none() => {}
                Err(Errno::OPNOTSUPP) => return Err(DiskError::NoMetadata),
                Err(Errno::RANGE | Errno::NOSPC | Errno::TOOBIG) => {
                    return Err(DiskError::MetadataTooLarge);
                }
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Ok(())
    }

    /// Reads them from the file of an object.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let mut list = vec![0; LIST_BYTES_MAX];
        let length = match flistxattr(file.as_fd(), &mut list[..]) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => 0,
            Err(error) => return Err(error.into()),
        };
        list.truncate(length);
        let mut attributes = Self::default();
        for name in list.split(|byte| *byte == 0) {
            let Ok(name) = std::str::from_utf8(name) else {
                continue;
            };
            if name == CONTENT_TYPE {
                attributes.content_type = Some(value(file, name)?);
            } else if name == MD5 {
                attributes.md5 = Some(value(file, name)?);
            } else if let Some(short) = name.strip_prefix(META) {
                let value = value(file, name)?;
                attributes.metadata.insert(short.to_owned(), value);
            }
        }
        Ok(attributes)
    }
}

/// The MD5 that is the tag of the object at `path`; null if it was not sent.
pub(super) fn md5_of(path: &Path) -> io::Result<Option<String>> {
    let mut value = vec![0; BYTES_MAX];
    match lgetxattr(path, MD5, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            String::from_utf8(value).map(Some).map_err(io::Error::other)
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn value(file: &File, name: &str) -> io::Result<String> {
    let mut value = vec![0; BYTES_MAX];
    let length = fgetxattr(file.as_fd(), name, &mut value[..])?;
    value.truncate(length);
    String::from_utf8(value).map_err(io::Error::other)
}

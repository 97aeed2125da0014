//! `ListObjectsV2`: a page of the names of a bucket.

use std::path::Path;

use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListObjectsV2Input, ListObjectsV2Output, Object, Timestamp,
};
use s3s::{S3Result, s3_error};

use crate::disk::{Disk, DiskError, Found, Step, Wanted};
use crate::percent;

/// Most names on a page, as with S3.
const PAGE: i32 = 1000;

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Object(String, Found),
    /// Names that begin with this, and go on after the delimiter.
    Group(String),
}

/// Lists a page.
pub(super) fn list(disk: &Disk, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let limit = input.max_keys.unwrap_or(PAGE).clamp(0, PAGE);
    let room = usize::try_from(limit).unwrap_or_default();
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|text| !text.is_empty());
    let from = match &input.continuation_token {
        Some(token) => Position::read(token)
            .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is not ours"))?,
        None => Position::After(input.start_after.clone().unwrap_or_default()),
    };
    // One more than asked for tells whether there are more.
    let mut lines = lines(disk, &input.bucket, &prefix, delimiter, &from, room + 1)?;
    let truncated = room > 0 && lines.len() > room;
    lines.truncate(room);
    let next = lines.last().filter(|_| truncated).map(|last| match last {
        Line::Object(key, _) => Position::After(key.clone()).token(),
        Line::Group(group) => Position::Past(group.clone()).token(),
    });
    let write = encoder(input.encoding_type.as_ref())?;
    let (mut contents, mut groups) = (Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::Object(key, found) => contents.push(object(write(&key), found)),
            Line::Group(group) => groups.push(CommonPrefix {
                prefix: Some(write(&group)),
            }),
        }
    }
    let count = i32::try_from(contents.len() + groups.len()).ok();
    Ok(ListObjectsV2Output {
        key_count: count,
        max_keys: Some(limit),
        is_truncated: Some(truncated),
        next_continuation_token: next,
        contents: Some(contents),
        common_prefixes: Some(groups),
        prefix: Some(write(&prefix)),
        delimiter: delimiter.map(&write),
        start_after: input.start_after.as_deref().map(&write),
        name: Some(input.bucket),
        continuation_token: input.continuation_token,
        encoding_type: input.encoding_type,
        ..ListObjectsV2Output::default()
    })
}

fn lines(
    disk: &Disk,
    bucket: &str,
    prefix: &str,
    delimiter: Option<&str>,
    from: &Position,
    limit: usize,
) -> Result<Vec<Line>, DiskError> {
    let mut lines = Vec::new();
    let (Position::After(after) | Position::Past(after)) = from;
    let wanted = Wanted {
        prefix,
        after: Some(after)
            .filter(|after| !after.is_empty())
            .map(String::as_str),
        past: match from {
            Position::After(_) => None,
            Position::Past(group) => Some(group),
        },
    };
    disk.walk(bucket, wanted, &mut |key: &str, path: &Path| {
        let step = if let Some(group) = group_of(key, prefix, delimiter) {
            lines.push(Line::Group(group.to_owned()));
            Step::Past(group.to_owned())
        } else {
            let found = Disk::look(path)?;
            lines.extend(found.map(|found| Line::Object(key.to_owned(), found)));
            Step::Next
        };
        Ok(if lines.len() < limit {
            step
        } else {
            Step::Stop
        })
    })?;
    Ok(lines)
}

/// The beginning of `key` up to the first delimiter after the prefix.
fn group_of<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter?;
    let at = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

fn object(key: String, found: Found) -> Object {
    Object {
        key: Some(key),
        size: i64::try_from(found.bytes).ok(),
        last_modified: Some(Timestamp::from(found.modified)),
        e_tag: Some(ETag::Strong(found.tag)),
        ..Object::default()
    }
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Position {
    /// After this name; empty: at the beginning.
    After(String),
    /// After all names that begin with this.
    Past(String),
}

impl Position {
    /// As text for a client, who makes nothing of it.
    fn token(&self) -> String {
        let (kind, name) = match self {
            Self::After(name) => ("k", name),
            Self::Past(name) => ("p", name),
        };
        format!("{kind}{}", url_encoded(name))
    }

    fn read(token: &str) -> Option<Self> {
        let (kind, text) = token.split_at_checked(1)?;
        let name = String::from_utf8(percent::decoded(text.as_bytes())?).ok()?;
        match kind {
            "k" => Some(Self::After(name)),
            "p" => Some(Self::Past(name)),
            _ => None,
        }
    }
}

/// How names are written: as they are, or for a client that cannot read every character in XML.
fn encoder(wanted: Option<&EncodingType>) -> S3Result<fn(&str) -> String> {
    match wanted.map(EncodingType::as_str) {
        None => Ok(str::to_owned),
        Some(EncodingType::URL) => Ok(url_encoded),
        Some(_) => Err(s3_error!(InvalidArgument, "Unknown encoding type")),
    }
}

fn url_encoded(text: &str) -> String {
    percent::encoded(text.as_bytes(), |byte, _| {
        byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte)
    })
}

#[cfg(test)]
mod tests;

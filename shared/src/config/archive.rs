//! Where the archive is.

use clap::Args;

use super::Validate;
use crate::archive::store::{Encryption, S3Settings};
use crate::secret::Secret;

/// Where the archive is: a bucket of an S3.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Archive")]
pub struct ArchiveOptions {
    /// Bucket of the archive, which exists. Without it no database is archived: what its server
    /// loses is lost.
    #[arg(
        id = "archive_bucket",
        long = "archive-bucket",
        env = "RINGMASTER_ARCHIVE_BUCKET",
        value_name = "NAME"
    )]
    pub bucket: Option<String>,

    /// URL of the S3, `https://host[:port]`; plain `http://` only on the loopback interface.
    /// Without it: AWS, by the region. Servers of databases must reach it, too.
    #[arg(
        id = "archive_endpoint",
        long = "archive-endpoint",
        env = "RINGMASTER_ARCHIVE_ENDPOINT",
        value_name = "URL"
    )]
    pub endpoint: Option<String>,

    /// Region that requests are signed for.
    #[arg(
        id = "archive_region",
        long = "archive-region",
        env = "RINGMASTER_ARCHIVE_REGION",
        value_name = "REGION",
        default_value = "us-east-1"
    )]
    pub region: String,

    /// Put before the name of every object, so that several fleets can share a bucket; ends with a
    /// slash.
    #[arg(
        id = "archive_prefix",
        long = "archive-prefix",
        env = "RINGMASTER_ARCHIVE_PREFIX",
        value_name = "PREFIX",
        default_value = ""
    )]
    pub prefix: String,

    /// Access key id.
    #[arg(
        id = "archive_access_key_id",
        long = "archive-access-key-id",
        env = "RINGMASTER_ARCHIVE_ACCESS_KEY_ID",
        value_name = "ID"
    )]
    pub access_key_id: Option<String>,

    /// Secret access key; only from the environment.
    #[arg(
        id = "archive_secret_access_key",
        long = "archive-secret-access-key",
        env = "RINGMASTER_ARCHIVE_SECRET_ACCESS_KEY",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub secret_access_key: Option<Secret>,

    /// The bucket is in the path of URLs and not in the name of the host: for most S3s that are
    /// not AWS.
    #[arg(
        id = "archive_path_style",
        long = "archive-path-style",
        env = "RINGMASTER_ARCHIVE_PATH_STYLE"
    )]
    pub path_style: bool,

    /// How the store encrypts what it keeps: `AES256` (with a key of its own), `aws:kms:<key>`, or
    /// `none`.
    #[arg(
        id = "archive_encryption",
        long = "archive-encryption",
        env = "RINGMASTER_ARCHIVE_ENCRYPTION",
        value_name = "KIND",
        default_value = "AES256"
    )]
    pub encryption: String,
}

impl ArchiveOptions {
    /// Where the archive is; null if there is none.
    ///
    /// # Errors
    /// Sentences about what is missing or of the wrong form.
    pub fn settings(&self) -> Result<Option<S3Settings>, Vec<String>> {
        let Some(bucket) = &self.bucket else {
            return Ok(None);
        };
        let mut problems = Vec::new();
        if let Some(endpoint) = &self.endpoint {
            problems.extend(problem_of_endpoint(endpoint));
        }
        if !self.prefix.is_empty() && !self.prefix.ends_with('/') {
            problems.push("--archive-prefix: must end with a slash".to_owned());
        }
        let encryption = encryption(&self.encryption);
        problems.extend(encryption.as_ref().err().cloned());
        match (&self.access_key_id, &self.secret_access_key, encryption) {
            (Some(access_key_id), Some(secret), Ok(encryption)) if problems.is_empty() => {
                return Ok(Some(S3Settings {
                    endpoint: self.endpoint.clone(),
                    region: self.region.clone(),
                    bucket: bucket.clone(),
                    prefix: self.prefix.clone(),
                    access_key_id: access_key_id.clone(),
                    secret_access_key: secret.clone(),
                    path_style: self.path_style,
                    encryption,
                }));
            }
            (Some(_), Some(_), _) => {}
            (None, _, _) | (_, None, _) => problems.push(
                "--archive-bucket needs --archive-access-key-id and \
                 RINGMASTER_ARCHIVE_SECRET_ACCESS_KEY"
                    .to_owned(),
            ),
        }
        Err(problems)
    }
}

fn encryption(text: &str) -> Result<Encryption, String> {
    match (text, text.strip_prefix("aws:kms:")) {
        ("none", _) => Ok(Encryption::None),
        ("AES256", _) => Ok(Encryption::Aes256),
        (_, Some(key)) if !key.is_empty() => Ok(Encryption::Kms(key.to_owned())),
        _ => Err(format!(
            "--archive-encryption: {text:?} is not AES256, aws:kms:<key> or none"
        )),
    }
}

/// Signed URLs go to this address: in the clear everybody on the way could use them.
fn problem_of_endpoint(endpoint: &str) -> Option<String> {
    let loopback = ["127.", "localhost", "[::1]"];
    let is_good = endpoint
        .strip_prefix("https://")
        .is_some_and(|host| !host.is_empty())
        || endpoint
            .strip_prefix("http://")
            .is_some_and(|host| loopback.iter().any(|local| host.starts_with(local)));
    (!is_good).then(|| {
        format!(
            "--archive-endpoint: {endpoint:?} must begin with https:// (or http:// and an address \
             of the loopback interface)"
        )
    })
}

impl Validate for ArchiveOptions {
    fn problems(&self, problems: &mut Vec<String>) {
        problems.extend(self.settings().err().into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        archive: ArchiveOptions,
    }

    fn options(arguments: &[&str]) -> ArchiveOptions {
        let all = [&["example"], arguments].concat();
        Options::try_parse_from(all).unwrap().archive
    }

    fn complete(more: &[&str]) -> ArchiveOptions {
        let keys = [
            "--archive-bucket=b",
            "--archive-access-key-id=id",
            "--archive-secret-access-key=secret",
        ];
        options(&[&keys, more].concat())
    }

    #[test]
    fn without_a_bucket_there_is_no_archive() {
        assert!(options(&[]).settings().unwrap().is_none());
    }

    #[test]
    fn aws_needs_a_bucket_and_keys() {
        let settings = complete(&[]).settings().unwrap().unwrap();
        assert_eq!(settings.endpoint, None);
        assert_eq!(settings.encryption, Encryption::Aes256);
        assert_eq!(settings.region, "us-east-1");
        assert!(!settings.path_style);
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let options = options(&[
            "--archive-bucket=b",
            "--archive-prefix=fleet",
            "--archive-encryption=rot13",
            "--archive-endpoint=http://10.0.0.1:9000",
        ]);
        let problems = options.settings().unwrap_err();
        let about = ["endpoint", "prefix", "encryption", "access-key-id"];
        assert_eq!(problems.len(), about.len(), "{problems:#?}");
        for (problem, about) in problems.iter().zip(about) {
            assert!(problem.contains(about), "{problem}");
        }
    }

    #[test]
    fn urls_in_the_clear_stay_on_this_machine() {
        for good in ["https://s3.example.com", "http://127.0.0.1:9000"] {
            assert_eq!(problem_of_endpoint(good), None);
        }
        for bad in ["http://s3.example.com", "s3.example.com", "https://", ""] {
            assert!(problem_of_endpoint(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_key_of_the_key_management_can_be_named() {
        let named = complete(&["--archive-encryption=aws:kms:alias/ringmaster"]);
        let settings = named.settings().unwrap().unwrap();
        let key = "alias/ringmaster".to_owned();
        assert_eq!(settings.encryption, Encryption::Kms(key));
        assert!(!format!("{settings:?}").contains("secret\""));
    }
}

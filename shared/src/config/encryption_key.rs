//! The key that encrypts secrets in the control database.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Validate;
use crate::secret::{Secret, Vault};

/// Largest key file that is read: a key has 44 characters.
const FILE_BYTES: u64 = 1024;

/// The key that encrypts secrets in the control database: 32 random bytes in base64. All processes
/// of one control database have the same; without it every stored secret is lost.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Secrets")]
pub struct EncryptionKeyOptions {
    /// File with the encryption key (make one: `openssl rand -base64 32`).
    #[arg(long, env = "RINGMASTER_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    pub encryption_key_file: Option<PathBuf>,

    /// The encryption key itself, where no file can be mounted; only from the environment.
    #[arg(
        long,
        env = "RINGMASTER_ENCRYPTION_KEY",
        hide_env_values = true,
        value_name = "BASE64"
    )]
    pub encryption_key: Option<Secret>,
}

impl EncryptionKeyOptions {
    /// The vault that the key opens.
    ///
    /// # Errors
    /// A sentence about a key that is missing, unreadable or of the wrong form.
    pub fn vault(&self) -> Result<Vault, String> {
        let key = match (&self.encryption_key_file, &self.encryption_key) {
            (Some(file), None) => read(file)?,
            (None, Some(key)) => key.clone(),
            (None, None) => {
                return Err("set --encryption-key-file (make one: openssl rand -base64 32)".into());
            }
            (Some(_), Some(_)) => {
                return Err(
                    "set either --encryption-key-file or RINGMASTER_ENCRYPTION_KEY, not both"
                        .into(),
                );
            }
        };
        Vault::from_base64(&key).map_err(|error| error.to_string())
    }
}

fn read(file: &Path) -> Result<Secret, String> {
    let failed = |error: std::io::Error| {
        let file = file.display();
        format!("failed to read --encryption-key-file {file}: {error}")
    };
    if fs::metadata(file).map_err(failed)?.len() > FILE_BYTES {
        return Err(format!(
            "--encryption-key-file {} is too large for a key",
            file.display()
        ));
    }
    fs::read_to_string(file).map(Secret::new).map_err(failed)
}

impl Validate for EncryptionKeyOptions {
    fn problems(&self, problems: &mut Vec<String>) {
        problems.extend(self.vault().err());
    }
}

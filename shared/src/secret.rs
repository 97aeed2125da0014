//! Secrets: values that must never be printed, and the vault that encrypts them for storage.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a nonce of XChaCha20: long enough that random ones do not collide.
const NONCE_BYTES: usize = 24;

/// Rounds of PBKDF2 in a SCRAM verifier: PostgreSQL's own `SCRAM_DEFAULT_ITERATIONS`.
const SCRAM_ROUNDS: u32 = 4096;

/// A text that is never printed: `Debug` shows `[redacted]`, there is no `Display`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text that must not be printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// 256 random bits of the operating system as 43 characters that need no quoting in a URL.
    pub fn random() -> Self {
        Self::new(BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<32>()))
    }

    /// The text itself, for the one place that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the text. Good for stored API tokens, which are random and long; not for
    /// passwords chosen by people.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// What PostgreSQL stores in place of this password, with a new random salt
    /// (`SCRAM-SHA-256$4096:…`, RFC 5802 and RFC 7677).
    pub fn scram_verifier(&self) -> String {
        scram_verifier(&self.0, &random_bytes::<16>())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng
        .try_fill_bytes(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac =
        <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Passwords of ours are ASCII, so SASLprep changes nothing and is left out.
fn scram_verifier(password: &str, salt: &[u8]) -> String {
    let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, SCRAM_ROUNDS);
    let stored_key = Sha256::digest(hmac_sha256(&salted, b"Client Key"));
    let server_key = hmac_sha256(&salted, b"Server Key");
    format!(
        "SCRAM-SHA-256${SCRAM_ROUNDS}:{}${}:{}",
        BASE64_STANDARD.encode(salt),
        BASE64_STANDARD.encode(stored_key),
        BASE64_STANDARD.encode(server_key)
    )
}

/// A ciphertext that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key is not 32 bytes in base64.
    #[error(
        "the encryption key must be 32 random bytes in base64 (make one: openssl rand -base64 32)"
    )]
    InvalidKey,
    /// Another key, another context, or damaged bytes.
    #[error("failed to decrypt the secret of {context}: wrong key or damaged value")]
    Decrypt {
        /// What the secret belongs to.
        context: String,
    },
}

/// Encrypts secrets for the control database (XChaCha20-Poly1305, random nonce in front).
///
/// Each ciphertext is bound to a context (for example `resource/<id>/password`), so that a value
/// copied into another row does not open there.
#[derive(Clone)]
pub struct Vault(XChaCha20Poly1305);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault([redacted])")
    }
}

impl Vault {
    /// A vault with the key from configuration: 32 bytes in standard base64.
    ///
    /// # Errors
    /// [`VaultError::InvalidKey`] for anything else.
    pub fn from_base64(key: &Secret) -> Result<Self, VaultError> {
        let bytes = BASE64_STANDARD
            .decode(key.expose().trim())
            .map_err(|_| VaultError::InvalidKey)?;
        let cipher =
            XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| VaultError::InvalidKey)?;
        Ok(Self(cipher))
    }

    /// A new random key, in the form that [`Vault::from_base64`] takes.
    pub fn random_key() -> Secret {
        Secret::new(BASE64_STANDARD.encode(random_bytes::<32>()))
    }

    /// Encrypts `secret` for `context`.
    pub fn seal(&self, context: &str, secret: &Secret) -> Vec<u8> {
        let nonce = random_bytes::<NONCE_BYTES>();
        let payload = Payload {
            msg: secret.expose().as_bytes(),
            aad: context.as_bytes(),
        };
        let sealed = self
            .0
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("a secret is far below the cipher's limit of 256 GiB");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens what [`Vault::seal`] made for the same `context`.
    ///
    /// # Errors
    /// [`VaultError::Decrypt`] with another key or context, or when a byte was changed.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Secret, VaultError> {
        let failed = || VaultError::Decrypt {
            context: context.to_owned(),
        };
        let (nonce, body) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(failed)?;
        let payload = Payload {
            msg: body,
            aad: context.as_bytes(),
        };
        let plain = self
            .0
            .decrypt(XNonce::from_slice(nonce), payload)
            .map_err(|_| failed())?;
        String::from_utf8(plain)
            .map(Secret::new)
            .map_err(|_| failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3 (user `user`, password `pencil`), whose verifier is
    /// computed by PostgreSQL 15 for the same salt.
    #[test]
    fn a_verifier_is_what_postgres_would_store() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        assert_eq!(
            scram_verifier("pencil", &salt),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[redacted]");
    }

    #[test]
    fn a_sealed_secret_opens_only_in_its_context_and_unchanged() {
        let vault = Vault::from_base64(&Vault::random_key()).unwrap();
        let other = Vault::from_base64(&Vault::random_key()).unwrap();
        let secret = Secret::random();
        let mut sealed = vault.seal("resource/1/password", &secret);
        assert_eq!(vault.open("resource/1/password", &sealed).unwrap(), secret);
        assert!(vault.open("resource/2/password", &sealed).is_err());
        assert!(other.open("resource/1/password", &sealed).is_err());
        sealed[30] ^= 1;
        assert!(vault.open("resource/1/password", &sealed).is_err());
        assert!(vault.open("resource/1/password", &[]).is_err());
    }

    #[test]
    fn a_key_of_the_wrong_form_is_refused() {
        for bad in ["", "short", "bm90IDMyIGJ5dGVz"] {
            assert!(Vault::from_base64(&Secret::new(bad)).is_err(), "{bad:?}");
        }
    }
}

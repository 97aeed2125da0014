//! What a certificate says.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::PkiError;
use crate::secret::Secret;

/// A certificate with its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate as PEM.
    pub certificate_pem: String,
    /// The private key as PEM (PKCS #8).
    pub key_pem: Secret,
}

/// A certificate that was read, to ask it.
#[derive(Debug, Clone)]
pub struct CertificateFacts {
    der: CertificateDer<'static>,
    not_after: DateTime<Utc>,
    uris: Vec<String>,
    dns_names: Vec<String>,
    addresses: Vec<IpAddr>,
    public_key_der: Vec<u8>,
}

impl CertificateFacts {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`PkiError::NotACertificate`] for anything else.
    pub fn read(pem: &str) -> Result<Self, PkiError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| PkiError::NotACertificate(error.to_string()))?;
        Self::from_der(der)
    }

    /// Reads a certificate as TLS carries it.
    ///
    /// # Errors
    /// [`PkiError::NotACertificate`] for anything else.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, PkiError> {
        let unreadable =
            |error: &dyn std::fmt::Display| PkiError::NotACertificate(error.to_string());
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| unreadable(&error))?;
        let not_after = DateTime::from_timestamp(parsed.validity().not_after.timestamp(), 0)
            .ok_or_else(|| PkiError::NotACertificate("its end of validity is absurd".to_owned()))?;
        let names = parsed
            .subject_alternative_name()
            .map_err(|error| unreadable(&error))?;
        let (mut uris, mut dns_names, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        let public_key_der = parsed.public_key().raw.to_vec();
        Ok(Self {
            der,
            not_after,
            uris,
            dns_names,
            addresses,
            public_key_der,
        })
    }

    /// End of validity.
    pub fn not_after(&self) -> DateTime<Utc> {
        self.not_after
    }

    /// URIs it is for.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// DNS names it is for.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// IP addresses it is for.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The public key, as DER.
    pub(super) fn public_key_der(&self) -> Vec<u8> {
        self.public_key_der.clone()
    }

    /// Whether the authority with this certificate signed it. Validity in time is not checked.
    ///
    /// # Errors
    /// [`PkiError::NotACertificate`] if `authority_pem` cannot be read.
    pub fn is_issued_by(&self, authority_pem: &str) -> Result<bool, PkiError> {
        let authority = Self::read(authority_pem)?;
        let unreadable = |error: x509_parser::nom::Err<_>| -> PkiError { unreadable_again(&error) };
        let (_, own) = X509Certificate::from_der(&self.der).map_err(unreadable)?;
        let (_, signer) = X509Certificate::from_der(&authority.der).map_err(unreadable)?;
        let signed = own.verify_signature(Some(signer.public_key())).is_ok();
        Ok(signed && own.issuer() == signer.subject())
    }
}

/// An address as a certificate has it: 4 bytes or 16 (RFC 5280, section 4.2.1.6).
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four: Option<[u8; 4]> = bytes.try_into().ok();
    let sixteen: Option<[u8; 16]> = bytes.try_into().ok();
    four.map(IpAddr::from).or_else(|| sixteen.map(IpAddr::from))
}

fn unreadable_again(error: &dyn std::fmt::Display) -> PkiError {
    PkiError::NotACertificate(error.to_string())
}

/// Certificate chain and key as TLS wants them.
pub(super) fn parse_identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PkiError::NotACertificate(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose().as_bytes())
        .map_err(|_| PkiError::NotAKey)?;
    Ok((chain, key))
}

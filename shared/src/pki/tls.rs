//! Mutual TLS with certificates of the authority, replaceable while in use.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use super::certificate::parse_identity;
use super::workers_only::WorkersOnly;
use super::{CertificateFacts, Identity, PkiError};

/// A certificate with its key that can be replaced: connections made from then on use the new one.
#[derive(Debug)]
pub struct HotIdentity(RwLock<Current>);

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    not_after: DateTime<Utc>,
    addresses: Vec<IpAddr>,
}

impl HotIdentity {
    /// Starts with `identity`.
    ///
    /// # Errors
    /// [`PkiError`] if it cannot be read, or certificate and key do not belong together.
    pub fn new(identity: &Identity) -> Result<Arc<Self>, PkiError> {
        Ok(Arc::new(Self(RwLock::new(Current::read(identity)?))))
    }

    /// Replaces it.
    ///
    /// # Errors
    /// As [`HotIdentity::new`]; then the old one stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), PkiError> {
        let new = Current::read(identity)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// End of validity of the certificate in use.
    pub fn not_after(&self) -> DateTime<Utc> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .not_after
    }

    /// Addresses that the certificate in use is for.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.addresses.clone()
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).key)
    }
}

impl Current {
    fn read(identity: &Identity) -> Result<Self, PkiError> {
        let (chain, key) = parse_identity(identity)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => PkiError::KeyMismatch,
            other => PkiError::Tls(other),
        })?;
        let facts = CertificateFacts::read(&identity.certificate_pem)?;
        Ok(Self {
            key: Arc::new(key),
            not_after: facts.not_after(),
            addresses: facts.addresses().to_vec(),
        })
    }
}

impl ResolvesServerCert for HotIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for HotIdentity {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// TLS of a server that serves only workers of this authority: not agents, although their
/// certificates are for clients, too.
pub fn server_config(
    authority_pem: &str,
    identity: Arc<HotIdentity>,
) -> Result<ServerConfig, PkiError> {
    let roots = Arc::new(roots(authority_pem)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| PkiError::Verifier(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(WorkersOnly(verifier)))
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// TLS of a client that trusts only servers with a server certificate of this authority, and shows
/// its own.
pub fn client_config(
    authority_pem: &str,
    identity: Arc<HotIdentity>,
) -> Result<ClientConfig, PkiError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authority_pem)?)
        .with_client_cert_resolver(identity);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(authority_pem: &str) -> Result<RootCertStore, PkiError> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority_pem.as_bytes())
        .map_err(|error| PkiError::NotACertificate(error.to_string()))?;
    roots.add(authority)?;
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

//! Mutual TLS with certificates of the authority, replaceable while in use.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use super::certificate::parse_identity;
use super::{Identity, PkiError};

/// A certificate with its key that can be replaced: connections made from then on use the new one.
#[derive(Debug)]
pub struct HotIdentity(RwLock<Arc<CertifiedKey>>);

impl HotIdentity {
    /// Starts with `identity`.
    ///
    /// # Errors
    /// [`PkiError`] if it cannot be read, or certificate and key do not belong together.
    pub fn new(identity: &Identity) -> Result<Arc<Self>, PkiError> {
        Ok(Arc::new(Self(RwLock::new(certified_key(identity)?))))
    }

    /// Replaces it.
    ///
    /// # Errors
    /// As [`HotIdentity::new`]; then the old one stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), PkiError> {
        let key = certified_key(identity)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
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

fn certified_key(identity: &Identity) -> Result<Arc<CertifiedKey>, PkiError> {
    let (chain, key) = parse_identity(identity)?;
    CertifiedKey::from_der(chain, key, &provider())
        .map(Arc::new)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => PkiError::KeyMismatch,
            other => PkiError::Tls(other),
        })
}

/// TLS of a server that serves only clients with a client certificate of this authority.
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
        .with_client_cert_verifier(verifier)
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

//! The authority itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
    date_time_ymd,
};

use super::{
    BACKDATED, CertificateFacts, Identity, LIFETIME, PkiError, WORKER_URI_PREFIX,
    server_common_name, server_name,
};
use crate::clock::Clock;
use crate::ids::{ServerId, WorkerId};
use crate::secret::Secret;

/// How long the authority's own certificate is valid.
const AUTHORITY_LIFETIME: TimeDelta = TimeDelta::days(3650);

/// Issues certificates. Whoever holds this may instruct every server: it lives in the control
/// plane only, its key encrypted at rest.
pub struct CertificateAuthority {
    certificate_pem: Arc<str>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateAuthority([redacted])")
    }
}

impl CertificateAuthority {
    /// A new authority with a new key, valid for ten years.
    pub fn generate(clock: &dyn Clock) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = params(clock, "Ringmaster", AUTHORITY_LIFETIME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key)?.pem().into();
        Ok(Self {
            certificate_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority with this certificate and key.
    ///
    /// # Errors
    /// [`PkiError`] if they are not what they should be or do not belong together.
    pub fn from_pem(certificate_pem: &str, key_pem: &Secret) -> Result<Self, PkiError> {
        let facts = CertificateFacts::read(certificate_pem)?;
        let key = KeyPair::from_pem(key_pem.expose()).map_err(|_| PkiError::NotAKey)?;
        if key.subject_public_key_info() != facts.public_key_der() {
            return Err(PkiError::KeyMismatch);
        }
        Ok(Self {
            certificate_pem: certificate_pem.into(),
            issuer: Issuer::from_ca_cert_pem(certificate_pem, key)?,
        })
    }

    /// Its certificate, which everybody may know, as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The same, to be kept without a copy.
    pub fn certificate_pem_shared(&self) -> Arc<str> {
        Arc::clone(&self.certificate_pem)
    }

    /// Its private key as PEM.
    pub fn key_pem(&self) -> Secret {
        Secret::new(self.issuer.key().serialize_pem())
    }

    /// A new key and certificate for the agent of `server`, which is reached at `addresses`.
    pub fn issue_for_server(
        &self,
        server: ServerId,
        addresses: &[IpAddr],
        clock: &dyn Clock,
    ) -> Result<Identity, PkiError> {
        self.issue(&server_params(server, addresses, clock)?)
    }

    /// A new certificate for the key that the agent of `server` already has, told by the
    /// certificate it uses now (which may have expired).
    ///
    /// # Errors
    /// [`PkiError::ForeignCertificate`] if that one was not issued by this authority.
    pub fn renew_for_server(
        &self,
        current: &CertificateFacts,
        server: ServerId,
        addresses: &[IpAddr],
        clock: &dyn Clock,
    ) -> Result<String, PkiError> {
        if !current.is_issued_by(&self.certificate_pem)? {
            return Err(PkiError::ForeignCertificate);
        }
        let key = SubjectPublicKeyInfo::from_der(&current.public_key_der())?;
        let params = server_params(server, addresses, clock)?;
        Ok(params.signed_by(&key, &self.issuer)?.pem())
    }

    /// A new key and certificate for a worker.
    pub fn issue_for_worker(
        &self,
        worker: WorkerId,
        clock: &dyn Clock,
    ) -> Result<Identity, PkiError> {
        let mut params = params(clock, &format!("worker {worker}"), LIFETIME);
        let uri = format!("{WORKER_URI_PREFIX}{worker}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }

    /// A new key and certificate for a gateway that clients reach at `host`, a name or an address.
    pub fn issue_for_gateway(&self, host: &str, clock: &dyn Clock) -> Result<Identity, PkiError> {
        let mut params = params(clock, "Ringmaster gateway", LIFETIME);
        params.subject_alt_names = vec![match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.to_owned().try_into()?),
        }];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    fn issue(&self, params: &CertificateParams) -> Result<Identity, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            key_pem: Secret::new(key.serialize_pem()),
        })
    }
}

fn server_params(
    server: ServerId,
    addresses: &[IpAddr],
    clock: &dyn Clock,
) -> Result<CertificateParams, PkiError> {
    let mut params = params(clock, &server_common_name(server), LIFETIME);
    let name = SanType::DnsName(server_name(server).try_into()?);
    let addresses = addresses.iter().map(|address| SanType::IpAddress(*address));
    params.subject_alt_names = std::iter::once(name).chain(addresses).collect();
    // It is a client where its PostgreSQL streams from another one. Agents refuse it as a client.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

fn params(clock: &dyn Clock, common_name: &str, lifetime: TimeDelta) -> CertificateParams {
    let now = clock.now();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(now - BACKDATED);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(now + lifetime);
    params.distinguished_name = name;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial());
    params
}

/// Time from 1970 to this moment, in whole seconds; zero for earlier ones.
fn since_1970(moment: DateTime<Utc>) -> Duration {
    Duration::from_secs(u64::try_from(moment.timestamp()).unwrap_or(0))
}

/// 16 random bytes, positive as a signed number (RFC 5280, section 4.1.2.2).
fn random_serial() -> SerialNumber {
    let mut bytes = [0; 16];
    OsRng
        .try_fill_bytes(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes[0] = bytes[0] & 0x7F | 0x40;
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests;

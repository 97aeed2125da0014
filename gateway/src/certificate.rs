//! What clients and servers are shown, and how servers are known.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use shared::clock::Clock;
use shared::pki::{CertificateAuthority, HotIdentity, Identity};
use shared::secret::Secret;

/// How long before its end a certificate of ours is made anew.
const RENEWED_BEFORE: TimeDelta = TimeDelta::hours(16);

/// A certificate with its private key, and who signs those of servers, all as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// What clients are shown.
    pub own: Identity,
    /// What the certificate of a server must come from.
    pub authority: Arc<str>,
}

/// Where the certificate comes from.
pub(crate) enum Source {
    /// Files that somebody else renews.
    Files { certificate: PathBuf, key: PathBuf },
    /// The control plane, for this host.
    Authority { host: String },
}

/// Keeps a certificate that is good for a while.
pub(crate) struct Keeper {
    authority: CertificateAuthority,
    clock: Arc<dyn Clock>,
    source: Source,
    made: Option<(Identity, DateTime<Utc>)>,
    /// The last that was usable.
    good: Option<Identity>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    pub(crate) fn new(
        authority: CertificateAuthority,
        clock: Arc<dyn Clock>,
        source: Source,
    ) -> Self {
        Self {
            authority,
            clock,
            source,
            made: None,
            good: None,
        }
    }

    /// What is to be used now: the last one that was usable if the newest is not, with the reason.
    ///
    /// # Errors
    /// There was no usable one yet.
    pub(crate) fn current(&mut self) -> anyhow::Result<(Certificates, Option<String>)> {
        let newest = self.newest();
        let (own, problem) = match (newest, &self.good) {
            (Ok(own), _) => (own, None),
            (Err(error), Some(good)) => (good.clone(), Some(format!("{error:#}"))),
            (Err(error), None) => return Err(error),
        };
        self.good = Some(own.clone());
        let authority = self.authority.certificate_pem_shared();
        Ok((Certificates { own, authority }, problem))
    }

    fn newest(&mut self) -> anyhow::Result<Identity> {
        let own = match &self.source {
            Source::Files { certificate, key } => {
                let read = |path: &PathBuf| {
                    std::fs::read_to_string(path)
                        .with_context(|| format!("read {}", path.display()))
                };
                Identity {
                    certificate_pem: read(certificate)?,
                    key_pem: Secret::new(read(key)?),
                }
            }
            Source::Authority { host } => self.made_for(&host.clone())?,
        };
        // PgBouncer would not start with a pair that does not belong together.
        HotIdentity::new(&own).context("use the certificate for clients")?;
        Ok(own)
    }

    /// A certificate of ours for `host`, the same for some hours.
    fn made_for(&mut self, host: &str) -> anyhow::Result<Identity> {
        let now = self.clock.now();
        if let Some((identity, _)) = self.made.as_ref().filter(|(_, until)| now < *until) {
            return Ok(identity.clone());
        }
        let identity = self
            .authority
            .issue_for_gateway(host, self.clock.as_ref())?;
        let until = now + shared::pki::LIFETIME - RENEWED_BEFORE;
        self.made = Some((identity.clone(), until));
        Ok(identity)
    }
}

//! The workers' side of the contract.
//!
//! One client serves all agents and keeps connections open. Its errors tell how strong they are as
//! evidence: see [`AgentError::is_hard_evidence`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::tls::TlsInfo;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;

use super::backup::{BackupOrder, BackupStatus};
use super::check::{CheckOrder, CheckStatus};
use super::restore::{ArchiveReads, RestoreStatus};
use super::transfer::{TransferOrder, TransferStatus};
use super::wal::{WalPush, WalPushed};
use super::{InstanceSpec, InstanceStatus, NewCertificate, REQUEST_ID_HEADER};
use crate::ids::{RequestId, ServerId};
use crate::pki::{CertificateFacts, HotIdentity, Identity, PkiError, client_config, server_name};

mod error;

pub use error::AgentError;

/// Longest time to a TCP connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// How much later than it was told to an agent may answer, on a busy machine or a slow network.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// How long an unused connection is kept: longer than the slowest cadence of `feel`.
const KEEP_IDLE: Duration = Duration::from_mins(3);

/// Where an agent is, and who it must prove to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentAddress {
    /// The server, which the agent's certificate must name.
    pub server: ServerId,
    /// Where its agent listens.
    pub address: SocketAddr,
}

/// Calls agents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentClient {
    http: reqwest::Client,
    addresses: Arc<Addresses>,
    identity: Arc<HotIdentity>,
}

impl AgentClient {
    /// A client that trusts the authority `authority_pem` and shows `identity`, a worker's. Calls
    /// take no longer than `patience`.
    pub fn new(
        authority_pem: &str,
        identity: &Identity,
        patience: Duration,
    ) -> Result<Self, AgentClientError> {
        let identity = HotIdentity::new(identity)?;
        let addresses = Arc::new(Addresses::default());
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(client_config(authority_pem, Arc::clone(&identity))?)
            .tls_info(true)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::clone(&addresses))
            .connect_timeout(CONNECT_PATIENCE.min(patience))
            .timeout(patience)
            .pool_idle_timeout(KEEP_IDLE)
            .pool_max_idle_per_host(2)
            .tcp_nodelay(true)
            .build()?;
        Ok(Self {
            http,
            addresses,
            identity,
        })
    }

    /// Shows another identity from now on; kept connections live on with the old one.
    ///
    /// # Errors
    /// [`PkiError`] if it cannot be used; then the old one stays.
    pub fn replace_identity(&self, identity: &Identity) -> Result<(), PkiError> {
        self.identity.replace(identity)
    }

    /// `GET /v1/instance`.
    pub async fn status(
        &self,
        agent: AgentAddress,
        request_id: RequestId,
    ) -> Result<InstanceStatus, AgentError> {
        let request = self.request(Method::GET, agent, "/v1/instance", request_id);
        read(agent, send(agent, request).await?).await
    }

    /// `PUT /v1/instance`: idempotent for one generation.
    pub async fn instruct(
        &self,
        agent: AgentAddress,
        spec: &InstanceSpec,
    ) -> Result<InstanceStatus, AgentError> {
        let request = self
            .request(Method::PUT, agent, "/v1/instance", spec.request_id)
            .json(spec);
        read(agent, send(agent, request).await?).await
    }

    /// `POST /v1/wal/push`: takes up to the call's own `answer_within_ms`. Idempotent.
    pub async fn push_wal(
        &self,
        agent: AgentAddress,
        push: &WalPush,
        request_id: RequestId,
    ) -> Result<WalPushed, AgentError> {
        let patience = Duration::from_millis(push.answer_within_ms.into()) + ANSWER_GRACE;
        let request = self
            .request(Method::POST, agent, "/v1/wal/push", request_id)
            .timeout(patience)
            .json(push);
        read(agent, send(agent, request).await?).await
    }

    /// `PUT /v1/backup`: begins a backup, or brings more places. Idempotent.
    pub async fn order_backup(
        &self,
        agent: AgentAddress,
        order: &BackupOrder,
        request_id: RequestId,
    ) -> Result<BackupStatus, AgentError> {
        let request = self
            .request(Method::PUT, agent, "/v1/backup", request_id)
            .json(order);
        read(agent, send(agent, request).await?).await
    }

    /// `GET /v1/backup`: null before the first backup of this agent's life.
    pub async fn backup_status(
        &self,
        agent: AgentAddress,
        request_id: RequestId,
    ) -> Result<Option<BackupStatus>, AgentError> {
        let request = self.request(Method::GET, agent, "/v1/backup", request_id);
        read(agent, send(agent, request).await?).await
    }

    /// `POST /v1/archive/reads`: null if nothing is restored. Idempotent.
    pub async fn allow_reads(
        &self,
        agent: AgentAddress,
        reads: &ArchiveReads,
        request_id: RequestId,
    ) -> Result<Option<RestoreStatus>, AgentError> {
        let request = self
            .request(Method::POST, agent, "/v1/archive/reads", request_id)
            .json(reads);
        read(agent, send(agent, request).await?).await
    }

    /// `POST /v1/check`: begins a check, or tells where it stands. Idempotent.
    pub async fn check(
        &self,
        agent: AgentAddress,
        order: &CheckOrder,
        request_id: RequestId,
    ) -> Result<CheckStatus, AgentError> {
        let request = self
            .request(Method::POST, agent, "/v1/check", request_id)
            .json(order);
        read(agent, send(agent, request).await?).await
    }

    /// `POST /v1/transfer`: begins a transfer, or tells where it stands. Idempotent.
    pub async fn transfer(
        &self,
        agent: AgentAddress,
        order: &TransferOrder,
        request_id: RequestId,
    ) -> Result<TransferStatus, AgentError> {
        let request = self
            .request(Method::POST, agent, "/v1/transfer", request_id)
            .json(order);
        read(agent, send(agent, request).await?).await
    }

    /// The certificate the agent uses, to be renewed for its key. Idempotent.
    pub async fn certificate(
        &self,
        agent: AgentAddress,
        request_id: RequestId,
    ) -> Result<CertificateFacts, AgentError> {
        let request = self.request(Method::GET, agent, "/v1/instance", request_id);
        let response = send(agent, request).await?;
        let der = response
            .extensions()
            .get::<TlsInfo>()
            .and_then(TlsInfo::peer_certificate)
            .unwrap_or_default();
        CertificateFacts::from_der(CertificateDer::from(der.to_vec()))
            .map_err(|error| unexpected(agent, response.status(), error.to_string()))
    }

    /// `PUT /v1/certificate`. Idempotent.
    pub async fn replace_certificate(
        &self,
        agent: AgentAddress,
        certificate_pem: String,
        request_id: RequestId,
    ) -> Result<(), AgentError> {
        let request = self
            .request(Method::PUT, agent, "/v1/certificate", request_id)
            .json(&NewCertificate { certificate_pem });
        send(agent, request).await.map(drop)
    }

    fn request(
        &self,
        method: Method,
        agent: AgentAddress,
        path: &str,
        request_id: RequestId,
    ) -> RequestBuilder {
        let host = server_name(agent.server);
        let url = format!("https://{host}:{}{path}", agent.address.port());
        self.addresses.learn(host, agent.address);
        self.http
            .request(method, url)
            .header(REQUEST_ID_HEADER, request_id.to_string())
    }
}

/// A client that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum AgentClientError {
    /// Its certificates are not usable.
    #[error("failed to set up the identity of the client")]
    Identity(#[from] PkiError),
    /// The HTTP client cannot be made.
    #[error("failed to set up the HTTP client")]
    Http(#[from] reqwest::Error),
}

/// Where names of servers lead: they are not in any DNS.
#[derive(Debug, Default)]
struct Addresses(RwLock<HashMap<String, SocketAddr>>);

impl Addresses {
    fn learn(&self, host: String, address: SocketAddr) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(&host) == Some(&address) {
            return;
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(host, address);
    }
}

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let address = known.get(name.as_str()).copied();
        Box::pin(async move {
            let address = address.ok_or("nobody told where this server is")?;
            let addresses: Addrs = Box::new(std::iter::once(address));
            Ok(addresses)
        })
    }
}

async fn send(agent: AgentAddress, request: RequestBuilder) -> Result<Response, AgentError> {
    let response = request
        .send()
        .await
        .map_err(|error| AgentError::from_transport(agent.server, error))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    if status.is_client_error() {
        let refusal = read(agent, response).await?;
        let server = agent.server;
        return Err(AgentError::Refused { server, refusal });
    }
    let text = response.text().await.unwrap_or_default();
    let detail = text.chars().take(200).collect();
    Err(unexpected(agent, status, detail))
}

async fn read<T: DeserializeOwned>(
    agent: AgentAddress,
    response: Response,
) -> Result<T, AgentError> {
    let status = response.status();
    let body = response
        .bytes()
        .await
        .map_err(|error| AgentError::from_transport(agent.server, error))?;
    serde_json::from_slice(&body).map_err(|error| unexpected(agent, status, error.to_string()))
}

fn unexpected(agent: AgentAddress, status: StatusCode, detail: String) -> AgentError {
    AgentError::Unexpected {
        server: agent.server,
        status,
        detail,
    }
}

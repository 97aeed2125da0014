//! Who may call the agent, what it makes of nonsense, and how its certificate is renewed.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::StatusCode;
use rustls::pki_types::ServerName;
use shared::agent_api::client::{AgentAddress, AgentClient, AgentError};
use shared::agent_api::{Refusal, RefusalCode};
use shared::clock::{Clock as _, ManualClock, SystemClock};
use shared::ids::{RequestId, ServerId, WorkerId};
use shared::pki::{
    CertificateAuthority, CertificateFacts, HotIdentity, Identity, client_config, server_name,
};
use tests::agent_server::{AgentServer, spec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn only_workers_of_our_control_plane_are_served() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let ours = server.authority.certificate_pem();
    let foreign = CertificateAuthority::generate(&SystemClock)?;
    let call = async |authority: &str, identity: &Identity| {
        let client = AgentClient::new(authority, identity, PATIENCE)?;
        anyhow::Ok(client.status(server.address, RequestId::new()).await)
    };
    call(ours, &server.worker()?).await??;

    let stranger = foreign.issue_for_worker(WorkerId::new(), &SystemClock)?;
    assert!(
        call(ours, &stranger).await?.is_err(),
        "a worker of another control plane"
    );
    let agent = server
        .authority
        .issue_for_server(ServerId::new(), &[], &SystemClock)?;
    assert!(
        call(ours, &agent).await?.is_err(),
        "an agent is not a worker"
    );
    let yesterday = ManualClock::starting_at(SystemClock.now() - TimeDelta::hours(30));
    let expired = server
        .authority
        .issue_for_worker(WorkerId::new(), &yesterday)?;
    assert!(
        call(ours, &expired).await?.is_err(),
        "an expired certificate"
    );
    let distrustful = call(foreign.certificate_pem(), &server.worker()?).await?;
    assert!(
        matches!(distrustful, Err(AgentError::Untrusted { .. })),
        "{distrustful:?}"
    );

    let elsewhere = AgentAddress {
        server: ServerId::new(),
        ..server.address
    };
    let mistaken = server.client.status(elsewhere, RequestId::new()).await;
    assert!(
        matches!(mistaken, Err(AgentError::Untrusted { .. })),
        "{mistaken:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_client_without_a_certificate_is_not_served() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let mut roots = rustls::RootCertStore::empty();
    let facts = server.authority.certificate_pem().as_bytes();
    let ca = <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(facts)?;
    roots.add(ca)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let anonymous = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address.address).await?;
    let name = ServerName::try_from(server_name(server.address.server))?;
    let connector = TlsConnector::from(Arc::new(anonymous));
    let outcome: std::io::Result<Vec<u8>> = async {
        let mut stream = connector.connect(name, stream).await?;
        stream
            .write_all(b"GET /v1/instance HTTP/1.1\r\nhost: x\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    }
    .await;
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
    Ok(())
}

/// Calls as a worker, but with anything.
struct Raw {
    http: reqwest::Client,
    base: String,
}

impl Raw {
    fn new(server: &AgentServer) -> anyhow::Result<Self> {
        let identity = HotIdentity::new(&server.worker()?)?;
        let config = client_config(server.authority.certificate_pem(), identity)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .build()?;
        let base = format!("https://{}", server.address.address);
        Ok(Self { http, base })
    }

    async fn put(&self, path: &str, body: Vec<u8>) -> anyhow::Result<(StatusCode, Refusal)> {
        let request = self.http.put(format!("{}{path}", self.base)).body(body);
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }
}

#[tokio::test]
async fn nonsense_is_refused_with_a_reason_and_changes_nothing() -> anyhow::Result<()> {
    let server = AgentServer::start(true).await?;
    let raw = Raw::new(&server)?;
    let good = serde_json::to_string(&spec().await?)?;
    for (body, status, why) in [
        (String::new(), StatusCode::BAD_REQUEST, "EOF"),
        ("{".to_owned(), StatusCode::BAD_REQUEST, "EOF"),
        ("[1, 2]".to_owned(), StatusCode::BAD_REQUEST, "understand"),
        (
            good[..good.len() / 2].to_owned(),
            StatusCode::BAD_REQUEST,
            "EOF",
        ),
        (
            good.replace("\"port\"", "\"prt\""),
            StatusCode::BAD_REQUEST,
            "prt",
        ),
        (
            good.replace("\"leader\"", "\"emperor\""),
            StatusCode::BAD_REQUEST,
            "emperor",
        ),
        (
            good.replace("\"generation\":1", "\"generation\":-1"),
            StatusCode::BAD_REQUEST,
            "-1",
        ),
        (
            good.replace("127.0.0.0/8", "everywhere"),
            StatusCode::BAD_REQUEST,
            "hba",
        ),
        (
            " ".repeat(5 * 1024 * 1024),
            StatusCode::PAYLOAD_TOO_LARGE,
            "limit",
        ),
    ] {
        let (seen, refusal) = raw.put("/v1/instance", body.clone().into_bytes()).await?;
        let start: String = body.chars().take(40).collect();
        assert_eq!(
            (seen, refusal.code),
            (status, RefusalCode::Invalid),
            "{start}"
        );
        assert!(
            refusal.message.contains(why),
            "{start}: {}",
            refusal.message
        );
    }
    let (status, _) = raw.put("/v1/nothing", Vec::new()).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let response = raw
        .http
        .delete(format!("{}/v1/instance", raw.base))
        .send()
        .await?;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(server.status().await?.generation, 0);
    Ok(())
}

/// The certificate that PostgreSQL shows.
async fn shown_by_postgres(server: &AgentServer, port: u16) -> anyhow::Result<CertificateFacts> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // An SSLRequest: length 8, code 80877103.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
    assert_eq!(stream.read_u8().await?, b'S');
    let identity = HotIdentity::new(&server.worker()?)?;
    let mut config = client_config(server.authority.certificate_pem(), identity)?;
    config.alpn_protocols.clear();
    let name = ServerName::try_from(server_name(server.address.server))?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let (_, connection) = stream.get_ref();
    let shown = connection.peer_certificates().unwrap()[0].clone();
    Ok(CertificateFacts::from_der(shown)?)
}

#[tokio::test]
async fn a_certificate_is_renewed_for_the_same_key_without_a_restart() -> anyhow::Result<()> {
    let mut server = AgentServer::start(true).await?;
    let spec = spec().await?;
    let before = server.converge(&spec).await?;
    let current = server
        .client
        .certificate(server.address, RequestId::new())
        .await?;
    assert_eq!(current.not_after(), before.certificate_not_after);

    let later = ManualClock::starting_at(SystemClock.now() + TimeDelta::minutes(30));
    let addresses = [server.address.address.ip()];
    let renewed =
        server
            .authority
            .renew_for_server(&current, server.address.server, &addresses, &later)?;
    let not_after = CertificateFacts::read(&renewed)?.not_after();
    server
        .client
        .replace_certificate(server.address, renewed, RequestId::new())
        .await?;
    let after = server.status().await?;
    assert_eq!(after.certificate_not_after, not_after);
    assert_eq!(
        after.postgres.as_ref().unwrap().pid,
        before.postgres.unwrap().pid
    );
    let fresh = AgentClient::new(
        server.authority.certificate_pem(),
        &server.worker()?,
        PATIENCE,
    )?;
    let shown = fresh.certificate(server.address, RequestId::new()).await?;
    assert_eq!(shown.not_after(), not_after);
    tokio::time::timeout(Duration::from_mins(1), async {
        while shown_by_postgres(&server, spec.port).await?.not_after() != not_after {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    })
    .await??;

    let foreign = CertificateAuthority::generate(&SystemClock)?;
    let bad = foreign.issue_for_server(server.address.server, &[], &SystemClock)?;
    let other_key = server
        .authority
        .issue_for_server(server.address.server, &[], &SystemClock)?;
    let other_server = server
        .authority
        .issue_for_server(ServerId::new(), &[], &SystemClock)?;
    for refused in [bad, other_key, other_server] {
        let pem = refused.certificate_pem;
        let error = server
            .client
            .replace_certificate(server.address, pem, RequestId::new())
            .await;
        assert_eq!(
            error.unwrap_err().refusal().unwrap().code,
            RefusalCode::Invalid
        );
    }
    server.kill_agent().await?;
    server.start_agent().await?;
    assert_eq!(server.status().await?.certificate_not_after, not_after);
    Ok(())
}

//! All played agents behind one port, as workers reach them: HTTPS with mutual TLS. Which one is meant,
//! and which certificate it shows, is told by the name that the worker asks for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Context as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ResolvesServerCertUsingSni, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use serde::Serialize;
use shared::agent_api::wal::WalPush;
use shared::clock::SystemClock;
use shared::ids::ServerId;
use shared::pki::{CertificateAuthority, Identity, server_name, server_of_name};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::played::Played;
use super::tally::Tally;

type ByServer = HashMap<ServerId, Played>;

/// Agents that answer until this is dropped.
pub(super) struct Agents {
    played: Arc<ByServer>,
    _serving: JoinSet<()>,
}

impl Agents {
    pub(super) async fn start(
        port: u16,
        authority: &CertificateAuthority,
        played: Vec<Played>,
        tally: &Arc<Tally>,
    ) -> anyhow::Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(tls(authority, &played)?));
        let by_server = played.into_iter().map(|each| (each.server, each));
        let played: Arc<ByServer> = Arc::new(by_server.collect());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (all, tally) = (Arc::clone(&played), Arc::clone(tally));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, all, tally) =
                    (acceptor.clone(), Arc::clone(&all), Arc::clone(&tally));
                connections.spawn(async move {
                    // A connection that breaks off is the worker's to make anew.
                    drop(serve(acceptor, stream, (all, tally)).await);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            played,
            _serving: serving,
        })
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Played> {
        self.played.values()
    }

    /// How many were pushed twice or more.
    pub(super) fn pushed_twice(&self) -> u32 {
        let pushed = self.played.values().filter(|each| each.pushes() >= 2);
        u32::try_from(pushed.count()).unwrap_or(u32::MAX)
    }
}

/// TLS that shows the certificate of the server that is asked for, to whom the authority knows.
fn tls(authority: &CertificateAuthority, played: &[Played]) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes())
        .context("read the certificate of the authority")?;
    roots.add(root)?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut identities = ResolvesServerCertUsingSni::new();
    for each in played {
        let identity = authority.issue_for_server(each.server, &[here], &SystemClock)?;
        let (chain, key) = read(&identity)?;
        let key = CertifiedKey::from_der(chain, key, &provider)?;
        identities.add(&server_name(each.server), key)?;
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(identities));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read(
    identity: &Identity,
) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes());
    let chain = chain
        .collect::<Result<_, _>>()
        .context("read a certificate")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose().as_bytes());
    Ok((chain, key.context("read a key")?))
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    (played, tally): (Arc<ByServer>, Arc<Tally>),
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let (_, connection) = stream.get_ref();
    let server = connection.server_name().and_then(server_of_name);
    let server = server.context("a worker asks for a server")?;
    let service = service_fn(move |request| {
        let (played, tally) = (Arc::clone(&played), Arc::clone(&tally));
        async move {
            Tally::count(&tally.calls);
            let answer = match played.get(&server) {
                Some(played) => answer(played, request).await,
                None => Ok(empty(StatusCode::NOT_FOUND)),
            };
            let failed = |_| empty(StatusCode::INTERNAL_SERVER_ERROR);
            Ok::<_, Infallible>(answer.unwrap_or_else(failed))
        }
    });
    let io = TokioIo::new(stream);
    Ok(http1::Builder::new().serve_connection(io, service).await?)
}

async fn answer(
    played: &Played,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/instance") => json(&played.status()),
        (&Method::POST, "/v1/wal/push") => {
            let body = request.into_body().collect().await?.to_bytes();
            let order: WalPush = serde_json::from_slice(&body)?;
            json(&played.push(&order).await)
        }
        _ => Ok(empty(StatusCode::NOT_FOUND)),
    }
}

fn json(answer: &impl Serialize) -> anyhow::Result<Response<Full<Bytes>>> {
    let body = Full::new(Bytes::from(serde_json::to_vec(answer)?));
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    Ok(response.body(body)?)
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

//! A local TLS front of the object store, for peers that speak to S3 only over TLS. It decrypts and
//! passes on; what that costs is on this machine, too, and is counted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use shared::clock::SystemClock;
use shared::ids::ServerId;
use shared::pki::CertificateAuthority;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Bytes of each buffer of a connection.
const BUFFER: usize = 256 * 1024;

/// A front on a free port; it ends when it is dropped.
pub(crate) struct Front {
    pub(crate) port: u16,
    _serving: JoinSet<()>,
}

impl Front {
    /// Passes what comes on to `store`.
    pub(crate) async fn start(store: SocketAddr) -> anyhow::Result<Self> {
        let authority = CertificateAuthority::generate(&SystemClock)?;
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let identity = authority.issue_for_server(ServerId::new(), &[here], &SystemClock)?;
        let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .context("read the certificate of the front")?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose().as_bytes())
            .context("read the key of the front")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((here, 0)).await?;
        let port = listener.local_addr()?.port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(pass_on(acceptor.clone(), stream, store));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            port,
            _serving: serving,
        })
    }
}

/// A connection that breaks off is its client's to make anew.
async fn pass_on(acceptor: TlsAcceptor, stream: TcpStream, store: SocketAddr) {
    let passing = async {
        stream.set_nodelay(true)?;
        let mut client = acceptor.accept(stream).await?;
        let mut store = TcpStream::connect(store).await?;
        store.set_nodelay(true)?;
        copy_bidirectional_with_sizes(&mut client, &mut store, BUFFER, BUFFER).await
    };
    drop(passing.await);
}

//! TLS to a server of ours: its certificate must come from our authority and carry its own name.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect};

use super::Target;

/// What cannot be made into a TLS client.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// The authority's certificates are not PEM.
    #[error("failed to read the certificates of the authority")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// They cannot be used, or there is none.
    #[error("failed to use the certificates of the authority")]
    Roots(#[source] rustls::Error),
    /// The name is not one that a certificate can carry.
    #[error("failed to use the name of the server")]
    Name(#[source] rustls::pki_types::InvalidDnsNameError),
}

/// Upgrades one TCP connection.
pub(super) struct Upgrade {
    connector: tokio_rustls::TlsConnector,
    name: ServerName<'static>,
}

impl Upgrade {
    /// For the server of `target`.
    ///
    /// # Errors
    /// When the authority or the name of the target cannot be used.
    pub(super) fn to(target: &Target) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(target.ca_pem.as_bytes()) {
            roots
                .add(certificate.map_err(TlsError::Pem)?)
                .map_err(TlsError::Roots)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Roots)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            connector: Arc::new(config).into(),
            name: ServerName::try_from(target.server_name.clone()).map_err(TlsError::Name)?,
        })
    }
}

impl TlsConnect<TcpStream> for Upgrade {
    type Stream = TlsStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsStream>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let stream = self.connector.connect(self.name, stream).await?;
            Ok(TlsStream(stream))
        })
    }
}

/// A TCP connection that was upgraded.
pub(super) struct TlsStream(tokio_rustls::client::TlsStream<TcpStream>);

impl tokio_postgres::tls::TlsStream for TlsStream {
    /// Not bound: the certificate is verified, so nobody can stand between.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

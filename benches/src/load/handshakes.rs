//! A new TLS connection with a full handshake for each request.
//!
//! wrk cannot do it: OpenSSL resumes the session of a connection that is used again, so all but the first handshakes are the cheap kind, without
//! a signature, wherever the server gives tickets. Here sessions are never kept, and a handshake that was resumed all the same is an error.
//! Servers give tickets or not, as they do by default.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

use super::Load;
use super::client::Answer;
use crate::certificate::Certificate;

const REQUEST: &[u8] = b"GET /1k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one of the clients saw: its latencies in microseconds, and how many connections failed.
type Seen = (Vec<f64>, u64);

/// Loads the proxy on `port` by so many clients at once.
pub fn run(port: u16, certificate: &Certificate, clients: usize, time: Duration) -> anyhow::Result<Load> {
    let connector = TlsConnector::from(Arc::new(config(certificate)?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let (latencies, errors) = runtime.block_on(async {
        let tasks: Vec<_> = (0..clients)
            .map(|_| tokio::spawn(client(connector.clone(), port, start + time)))
            .collect();
        let mut all: Seen = (Vec::new(), 0);
        for task in tasks {
            let (latencies, errors) = task.await?;
            all.0.extend(latencies);
            all.1 += errors;
        }
        anyhow::Ok(all)
    })?;
    Ok(Load::of(latencies, errors, start.elapsed().as_secs_f64()))
}

fn config(certificate: &Certificate) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.der.clone()))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

async fn client(connector: TlsConnector, port: u16, end: Instant) -> Seen {
    let (mut latencies, mut errors) = (Vec::new(), 0);
    while Instant::now() < end {
        let begin = Instant::now();
        match tokio::time::timeout(PATIENCE, once(&connector, port)).await {
            Ok(Ok(())) => latencies.push(begin.elapsed().as_secs_f64() * 1e6),
            _ => errors += 1,
        }
    }
    (latencies, errors)
}

async fn once(connector: &TlsConnector, port: u16) -> anyhow::Result<()> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").context("no name")?;
    let mut stream = connector.connect(name, stream).await?;
    if stream.get_ref().1.handshake_kind() != Some(HandshakeKind::Full) {
        bail!("no full handshake");
    }
    stream.write_all(REQUEST).await?;
    let (mut answer, mut buffer) = (Answer::default(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            bail!("closed before the answer was complete");
        }
        if answer.take(&buffer[..read])? {
            return Ok(());
        }
    }
}

//! How spans get to a collector: OTLP over HTTP, as protobuf.
//!
//! The SDK's thread waits for each batch; the bytes are moved by the runtime of the server. A collector that is away costs the spans, and a line in the
//! log once a minute.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::{info, warn};

use crate::settings::TraceSettings;

/// The most of an answer that is read.
const ANSWER: usize = 64 * 1024;

/// Pause between two lines about spans that were lost.
const SILENCE: Duration = Duration::from_secs(60);

/// What sends spans to the collector that the settings name.
pub(super) fn exporter(settings: &TraceSettings) -> anyhow::Result<Collector> {
    let trouble = Arc::new(Mutex::new(Trouble::default()));
    let client = Client {
        runtime: Handle::current(),
        timeout: settings.timeout,
        tls: if settings.is_secure() { Some(Tls(connector()?)) } else { None },
        trouble: Arc::clone(&trouble),
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(settings.endpoint.to_string())
        .with_timeout(settings.timeout)
        .build()?;
    Ok(Collector { exporter, trouble })
}

/// Trusts whom the system trusts.
fn connector() -> anyhow::Result<TlsConnector> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    anyhow::ensure!(
        !roots.is_empty(),
        "there are no certificates of authorities on this system (Debian: ca-certificates)"
    );
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Hands spans over, or counts them as lost.
#[derive(Debug)]
pub(super) struct Collector {
    exporter: opentelemetry_otlp::SpanExporter,
    trouble: Arc<Mutex<Trouble>>,
}

/// What there is to tell about spans that were lost.
#[derive(Debug, Default)]
struct Trouble {
    /// Why the last request failed, in more words than the SDK has.
    why: Option<String>,
    /// Spans since the last line about it.
    lost: usize,
    told: Option<Instant>,
}

impl Trouble {
    /// What to write, if anything is to be written.
    fn failed(&mut self, spans: usize, otherwise: &dyn std::fmt::Display, now: Instant) -> Option<String> {
        self.lost += spans;
        if self.told.is_some_and(|told| now.duration_since(told) < SILENCE) {
            return None;
        }
        self.told = Some(now);
        let lost = std::mem::take(&mut self.lost);
        let why = self.why.take().unwrap_or_else(|| otherwise.to_string());
        Some(format!("the collector of traces took none of {lost} spans: {why}"))
    }

    /// The same, after a success.
    fn over(&mut self) -> Option<String> {
        self.told.take()?;
        let more = std::mem::take(&mut self.lost);
        Some(format!("the collector of traces takes spans again; {more} more were lost"))
    }
}

fn lock(trouble: &Mutex<Trouble>) -> MutexGuard<'_, Trouble> {
    // It is whole at every moment, so a panic elsewhere cannot have left it half changed.
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        // An error would become a line in the log each time.
        match self.exporter.export(batch).await {
            Ok(()) => {
                if let Some(line) = lock(&self.trouble).over() {
                    info!("{line}");
                }
            }
            Err(e) => {
                if let Some(line) = lock(&self.trouble).failed(spans, &e, Instant::now()) {
                    warn!("{line}");
                }
            }
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// One request, one connection: batches are seconds apart.
#[derive(Debug)]
struct Client {
    runtime: Handle,
    timeout: Duration,
    tls: Option<Tls>,
    trouble: Arc<Mutex<Trouble>>,
}

#[derive(Clone)]
struct Tls(TlsConnector);

impl Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The SDK's thread has no sockets and no timers of its own.
        let (most, tls) = (self.timeout, self.tls.clone());
        let sent = self.runtime.spawn(async move { timeout(most, send(request, tls)).await });
        let answer = match sent.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(format!("no answer within {:?}", self.timeout).into()),
            Err(stopped) => Err(stopped.into()),
        };
        lock(&self.trouble).why = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(e) => Some(e.to_string()),
        };
        answer
    }
}

async fn send(request: Request<Bytes>, tls: Option<Tls>) -> Result<Response<Bytes>, HttpError> {
    let (mut head, body) = request.into_parts();
    let uri = std::mem::replace(&mut head.uri, Uri::from_static("/"));
    let authority = uri.authority().ok_or("expected a URL with a host")?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16();
    // Without the name and password that may stand before the host.
    let named = port.map_or_else(|| authority.host().to_owned(), |port| format!("{}:{port}", authority.host()));
    head.headers.insert(HOST, HeaderValue::try_from(named)?);
    head.uri = Uri::from(uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    let request = Request::from_parts(head, Full::new(body));
    let port = port.unwrap_or(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    match tls {
        None => ask(stream, request).await,
        Some(Tls(connector)) => ask(connector.connect(ServerName::try_from(host)?, stream).await?, request).await,
    }
}

async fn ask<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender; what goes wrong the sender is told.
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_once_a_minute_and_when_it_is_over() {
        let (mut trouble, start) = (Trouble::default(), Instant::now());
        assert_eq!(trouble.over(), None, "all is well");
        trouble.why = Some("connection refused".into());
        let first = trouble.failed(3, &"?", start);
        assert_eq!(
            first.as_deref(),
            Some("the collector of traces took none of 3 spans: connection refused")
        );
        assert_eq!(trouble.failed(4, &"?", start + SILENCE / 2), None);
        let later = trouble.failed(5, &"?", start + SILENCE).expect("it is time again");
        assert!(later.contains("none of 9 spans: ?"), "{later}");
        assert_eq!(trouble.failed(6, &"?", start + SILENCE), None);
        assert_eq!(
            trouble.over().as_deref(),
            Some("the collector of traces takes spans again; 6 more were lost")
        );
        assert_eq!(trouble.over(), None);
    }
}

//! Whole handshakes over pipes in memory, with certificates of our own making.

mod faults;
mod pingora;
mod renewal;
mod serving;
mod upstreams;

use std::path::Path;
use std::sync::Arc;

use lb_config::{Config, load_with};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::{ServerTls, Tls, load, pem, provider};

/// An authority that signs what it is told to.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Issued {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// For these names and addresses.
    fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Issued {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn write(&self, file: &Path) {
        std::fs::write(file, self.0.pem()).unwrap();
    }
}

impl Issued {
    /// As `NAME.pem` and `NAME.key`.
    fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.certificate).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }

    fn serial(&self) -> String {
        serial(&CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap())
    }
}

fn serial(certificate: &CertificateDer<'_>) -> String {
    let parsed = pem::parsed(certificate).unwrap();
    parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A configuration in this folder, with what every one has.
fn config(folder: &Path, text: &str) -> Config {
    let file = folder.join("lb.toml");
    std::fs::write(&file, format!("{text}\n[[routes]]\nrespond = {{}}\n")).unwrap();
    load_with(&file, &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
}

/// `[[server.tls]]` for each of these, all at one address: the name of its files, and of its `client_ca`'s.
fn listener(entries: &[(&str, Option<&str>)]) -> String {
    let entry = |(name, ca): &(&str, Option<&str>)| {
        let ca = ca.map_or(String::new(), |ca| format!("client_ca = '{ca}.pem'\n"));
        format!("[[server.tls]]\nlisten = '127.0.0.1:8443'\ncertificate = '{name}.pem'\nkey = '{name}.key'\n{ca}")
    };
    entries.iter().map(entry).collect()
}

fn loaded(folder: &Path, entries: &[(&str, Option<&str>)]) -> Tls {
    load(&config(folder, &listener(entries)), None).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Whoever is the only one there.
fn only(tls: &Tls) -> &ServerTls {
    assert_eq!(tls.listeners().len(), 1);
    &tls.listeners()[0]
}

/// A client, with a memory for sessions.
#[derive(Clone)]
struct Client(Arc<ClientConfig>);

/// What came of a handshake, as the client sees it.
#[derive(Debug)]
struct Shaken {
    serial: String,
    kind: HandshakeKind,
    version: ProtocolVersion,
    protocol: Option<String>,
}

impl Client {
    fn new(trusts: &Authority) -> Client {
        Self::with(trusts, rustls::ALL_VERSIONS, None)
    }

    fn with(trusts: &Authority, versions: &[&'static SupportedProtocolVersion], shows: Option<&Issued>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(trusts.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.resumption = Resumption::in_memory_sessions(64);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Client(Arc::new(config))
    }

    /// Shakes hands and has one byte sent by the server, which comes after its tickets. An IP address asks for no name.
    async fn shake(&self, listener: &ServerTls, name: &str) -> Result<Shaken, String> {
        let (near, far) = tokio::io::duplex(64 << 10);
        let server = async {
            let mut stream = listener.accept(far).await.map_err(|error| format!("server: {error}"))?;
            stream.write_all(b"x").await.unwrap();
            stream.flush().await.unwrap();
            Ok(stream)
        };
        let client = async {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let connecting = TlsConnector::from(self.0.clone()).connect(name, near).await;
            let mut stream = connecting.map_err(|error| format!("client: {error}"))?;
            stream.read_u8().await.map_err(|error| format!("client: {error}"))?;
            let session = stream.get_ref().1;
            Ok(Shaken {
                serial: serial(&session.peer_certificates().unwrap()[0]),
                kind: session.handshake_kind().unwrap(),
                version: session.protocol_version().unwrap(),
                protocol: session.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap()),
            })
        };
        let (server, client): (Result<_, String>, Result<Shaken, String>) = tokio::join!(server, client);
        // Why is what the side knows that refused.
        server.map_err(|why| match &client {
            Err(client) if why.contains("AlertReceived") || why.contains("received fatal alert") => client.clone(),
            _ => why,
        })?;
        client
    }

    /// The serial number of the certificate that a name gets.
    async fn serial(&self, listener: &ServerTls, name: &str) -> String {
        self.shake(listener, name).await.unwrap().serial
    }
}

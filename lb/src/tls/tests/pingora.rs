//! The fallback, by pingora's own connector over real sockets.

use ::pingora::connectors::{ConnectorOptions, TransportConnector};
use ::pingora::upstreams::peer::HttpPeer;
use tokio::net::TcpListener;

use super::upstreams::{servers, upstream};
use super::*;
use crate::tls::NO_ROOTS;

/// Serves handshakes on a port, as long as the test lasts.
async fn serve(tls: Tls) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = only(&tls).accept(stream).await {
                let _ = stream.write_all(b"x").await;
                let _ = stream.read_u8().await;
            }
        }
    });
    address
}

/// A connection to this address by these rules, and the first byte that comes over it.
async fn connect(folder: &Path, address: std::net::SocketAddr, tls: &str) -> Result<u8, String> {
    let config = config(folder, &upstream(&format!("'{address}'"), tls));
    let loaded = load(&config, None).unwrap();
    let mut peer = HttpPeer::new(address, false, String::new());
    loaded.upstream(0).unwrap().prepare(&servers(&config).await[0], &mut peer).unwrap();
    through(&peer).await
}

async fn through(peer: &HttpPeer) -> Result<u8, String> {
    let mut options = ConnectorOptions::new(1);
    options.ca_file = Some(NO_ROOTS.into());
    let connecting = TransportConnector::new(Some(options)).new_stream(peer).await;
    let mut stream = connecting.map_err(|error| error.to_string())?;
    stream.read_u8().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_prepared_peer_is_verified_by_its_address_or_name_and_shows_its_certificate() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    let (others, people) = (Authority::new("others"), Authority::new("people"));
    for (authority, name) in [(&authority, "ca.pem"), (&others, "others.pem"), (&people, "people.pem")] {
        authority.write(&folder.path().join(name));
    }
    people.issue(&["lb"]).write(folder.path(), "lb");
    authority.issue(&["u.internal", "127.0.0.1"]).write(folder.path(), "server");
    let open = serve(loaded(folder.path(), &[("server", None)])).await;
    assert_eq!(connect(folder.path(), open, "ca = 'ca.pem'").await, Ok(b'x'));
    assert_eq!(connect(folder.path(), open, "ca = 'ca.pem', sni = 'u.internal'").await, Ok(b'x'));
    for (tls, why) in [
        ("ca = 'others.pem'", "UnknownIssuer"),
        ("ca = 'ca.pem', sni = 'v.internal'", "not valid for name"),
        ("ca = 'ca.pem', sni = '127.0.0.2'", "not valid for name"),
    ] {
        let error = connect(folder.path(), open, tls).await.unwrap_err();
        assert!(error.contains(why), "{tls}: {error}");
    }
    let closed = serve(loaded(folder.path(), &[("server", Some("people"))])).await;
    let shown = "ca = 'ca.pem', certificate = 'lb.pem', key = 'lb.key'";
    assert_eq!(connect(folder.path(), closed, shown).await, Ok(b'x'));
    assert!(connect(folder.path(), closed, "ca = 'ca.pem'").await.is_err());
}

#[tokio::test]
async fn a_peer_that_was_not_prepared_trusts_nobody() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    authority.issue(&["u.internal"]).write(folder.path(), "server");
    let address = serve(loaded(folder.path(), &[("server", None)])).await;
    let error = through(&HttpPeer::new(address, true, "u.internal".into())).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
}

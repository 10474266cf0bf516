//! A database that is not there yet.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Database, Kind, Process};

/// The same URL at another port.
fn at_port(url: &str, port: u16) -> (String, String) {
    let (before, behind) = url.rsplit_once('@').expect("user@host");
    let (server, name) = behind.split_once('/').expect("host/name");
    (format!("{before}@127.0.0.1:{port}/{name}"), server.to_owned())
}

#[tokio::test]
async fn it_waits_for_the_database_and_then_is_ready_by_itself() {
    let database = Database::new(Kind::Postgres).await;
    // A port that nobody listens on, until the test does.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let (url, server_addr) = at_port(&database.url, socket.local_addr().expect("it is bound").port());
    let mut server = Process::start(&url, &[]).await;
    assert_eq!(server.get("/ready").await.status, 503);
    assert_eq!(server.get("/health").await.status, 503);
    assert_eq!(server.get("/users").await.header("retry-after"), "1");

    let listener: TcpListener = socket.listen(16).expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(&server_addr).await.expect("the real server listens");
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    server.until_ready().await;
    assert_eq!((server.get("/users").await.status, server.get("/health").await.status), (200, 200));
    server.signal("TERM");
    assert_eq!(server.end().await, Some(0));
    let log = server.log().await;
    let place = |text: &str| {
        let found = log
            .iter()
            .position(|line| line["message"].as_str().is_some_and(|message| message.starts_with(text)));
        found.unwrap_or_else(|| panic!("{text:?} is not in {log:?}"))
    };
    assert!(place("waiting for the database: ") < place("the database's schema is up to date"));
}

//! `client_ca`: clients have to show a certificate.

use lb_tests::client::{Connection, Failure, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::tls::{Authority, ClientTls};

use super::{SERVER, to, with_files};

/// Whether a request comes through. In TLS 1.3 the client is done before the server has looked, so the refusal may come with the answer.
async fn is_served(lb: &Lb, tls: &ClientTls) -> bool {
    match Connection::open_tls(lb.listen2(), &tls.build(), "lb.test").await {
        Err(Failure::Handshake(_)) => false,
        Err(other) => panic!("{other:?}"),
        Ok(mut connection) => connection.send(&Request::get("/")).await.is_ok_and(|answer| answer.status == 200),
    }
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_that_authority_are_served() {
    let origin = Origin::named("origin").await;
    let (own, clients, strangers) = (Authority::new("own"), Authority::new("clients"), Authority::new("strangers"));
    let listener = "[[server.tls]]\nlisten = \"@LISTEN2@\"\ncertificate = \"lb.pem\"\nkey = \"lb.key\"\nclient_ca = \"clients.pem\"\n\n";
    let setup = Lb::setup(&[SERVER, listener, &to(&origin)].concat()).file("clients.pem", clients.pem());
    let lb = with_files(setup, "lb", &own.issue(&["lb.test"])).start().await;
    let trusting = ClientTls::trusting(&own);
    for client in [trusting.clone(), trusting.clone().tls12()] {
        assert!(is_served(&lb, &client.clone().certificate(clients.issue_client("a"))).await);
        assert!(!is_served(&lb, &client).await, "served without a certificate");
        assert!(
            !is_served(&lb, &client.clone().certificate(strangers.issue_client("a"))).await,
            "served with a stranger's"
        );
        assert!(
            !is_served(&lb, &client.certificate(own.issue_client("a"))).await,
            "served with one of the wrong authority"
        );
    }
    assert_eq!(origin.count(), 2);
}

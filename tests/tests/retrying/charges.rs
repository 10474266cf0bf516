//! Whose failure it is.

use std::net::SocketAddr;

use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Refusing, Reply, Step};
use lb_tests::servers;

use super::origins;

/// Four servers that go out at their first failure. How many have, after one request that is tried three times.
async fn ejected(addresses: &[SocketAddr]) -> u64 {
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\ntimeouts = {{ read = \"200ms\" }}\n\
         passive_health = {{ failures = 1, eject = \"5m\", max_ejected_percent = 100 }}\nretry = {{ attempts = 3, budget_percent = 100 }}\n",
        servers(addresses)
    ))
    .await;
    assert!(lb.get("/").await.status >= 502);
    lb.servers("app").await.iter().map(|server| server.ejections).sum()
}

#[tokio::test]
async fn every_kind_of_failure_counts_and_a_request_charges_one_server() {
    let kinds = [
        ("reset", Reply::reset()),
        ("closed", Reply::close()),
        ("timeout", Reply::never()),
        ("invalid", Reply::raw("garbage\r\n\r\n").then(Step::Close)),
        ("502", Reply::new(502)),
        ("503", Reply::new(503)),
        ("504", Reply::new(504)),
    ];
    for (kind, reply) in kinds {
        let origins = origins(4, move |_| reply.clone()).await;
        let addresses: Vec<_> = origins.iter().map(Origin::addr).collect();
        assert_eq!(ejected(&addresses).await, 1, "{kind}");
        assert_eq!(super::counts(&origins).iter().sum::<usize>(), 3, "{kind}");
    }
}

#[tokio::test]
async fn whoever_takes_no_connection_is_charged_each_and_the_last_one_stays() {
    let refusing: Vec<_> = (0..4).map(|_| Refusing::start()).collect();
    let addresses: Vec<_> = refusing.iter().map(Refusing::addr).collect();
    assert_eq!(ejected(&addresses).await, 3);
}

//! `dns://_service._tcp.name`: SRV records.

use lb_tests::dns::{Dns, Service};
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;

use super::*;

const SERVICE: &str = "_http._tcp.app.internal";

fn record(target: &str, origin: &Origin, priority: u16, weight: u16) -> Service {
    Service {
        target: target.into(),
        port: origin.addr().port(),
        priority,
        weight,
    }
}

#[tokio::test]
async fn ports_priorities_and_weights_are_those_of_the_records() {
    let (one, two, three, mut dns) = (
        Origin::named("one").await,
        Origin::named("two").await,
        Origin::named("three").await,
        Dns::start().await,
    );
    dns.set("a.internal", &[one.addr().ip()]);
    let records = |weight| {
        [
            record("a.internal", &one, 10, weight),
            record("a.internal", &two, 10, 0),
            record("a.internal", &three, 20, 5),
            record("nowhere.internal", &three, 1, 5),
        ]
    };
    dns.set_services(SERVICE, &records(4)).await;
    let config = format!(
        "[upstreams.app]\nservers = [{{ address = \"dns://{SERVICE}\", nameserver = \"{}\" }}]\n",
        dns.addr()
    );
    let lb = Lb::start(&config).await;
    wait_for_servers(&lb, &[&one, &two, &three]).await;
    let weights = async || {
        let status = lb.status().await;
        let servers = status["upstreams"][0]["servers"].as_array().unwrap().clone();
        let of = |origin: &Origin| {
            let server = servers
                .iter()
                .find(|server| server["address"] == origin.addr().to_string())
                .unwrap();
            (server["weight"].as_u64().unwrap(), server["backup"].as_bool().unwrap())
        };
        [of(&one), of(&two), of(&three)]
    };
    assert_eq!(weights().await, [(4, false), (1, false), (5, true)]);
    let load = load(&lb);
    wait_for_use(&[&one, &two]).await;
    assert_eq!(three.count(), 0);
    dns.set_services(SERVICE, &records(9)).await;
    until("the weights are the new ones", async || {
        weights().await == [(9, false), (1, false), (5, true)]
    })
    .await;
    dns.set_services(SERVICE, &[record("a.internal", &three, 0, 0)]).await;
    wait_for_servers(&lb, &[&three]).await;
    wait_for_use(&[&three]).await;
    load.stop().await.assert_none_failed();
}

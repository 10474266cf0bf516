//! The DNS server vanishes.
//!
//! Servers by `dns://` are looked up again and again. When nobody answers, or the name is gone, the last good addresses stay in use: that a
//! name cannot be looked up says nothing of the servers.

use lb_tests::dns::Dns;
use lb_tests::lb::Lb;
use lb_tests::load::{Load, Running};
use lb_tests::origin::Origin;
use lb_tests::report::{length, row};
use lb_tests::wait::until;

use super::shown;

const NAME: &str = "users.internal";

/// The name has the addresses of these.
fn set(dns: &mut Dns, origins: &[&Origin]) {
    let addresses: Vec<_> = origins.iter().map(|origin| origin.addr().ip()).collect();
    dns.set(NAME, &addresses);
}

async fn failures(lb: &Lb) -> f64 {
    lb.metrics().await.sum("lb_discovery_failures_total", &[])
}

/// Goes on for a while in which looking the name up fails.
async fn go_on_without(lb: &Lb, load: &Running) {
    let before = failures(lb).await;
    until("looking it up has failed", async || failures(lb).await > before).await;
    load.go_on(length(0, 8), 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dns_server_that_vanishes_costs_no_request() {
    let mut dns = Dns::start().await;
    let one = Origin::named("one").await;
    let (two, three) = (one.beside([127, 0, 0, 2], "two").await, one.beside([127, 0, 0, 3], "three").await);
    set(&mut dns, &[&one, &two]);
    let upstream = format!(
        "[upstreams.users]\nservers = [{{ address = \"dns://{NAME}:{}\", nameserver = \"{}\" }}]\n",
        one.addr().port(),
        dns.addr()
    );
    let lb = Lb::start(&upstream).await;
    until("both are known", async || lb.servers("users").await.len() == 2).await;
    let load = Load::new(lb.listen(), &["/a", "/b"])
        .connections(64)
        .pace(std::time::Duration::from_millis(60))
        .check(|_, answer| ["one", "two", "three"].contains(&answer.text().as_str()))
        .start();
    load.go_on(length(1, 4), 100).await;

    dns.stop();
    go_on_without(&lb, &load).await;
    dns.start_again().await;
    dns.hang();
    go_on_without(&lb, &load).await;
    dns.go_on();
    set(&mut dns, &[]);
    go_on_without(&lb, &load).await;
    assert_eq!(lb.servers("users").await.len(), 2, "the last good addresses stay");

    // and then it is there again, and says something else
    set(&mut dns, &[&two, &three]);
    until("the new one is used", async || three.count() > 0).await;
    until("the old one is not", async || lb.servers("users").await.len() == 2).await;
    load.go_on(length(1, 4), 100).await;
    let counts = load.stop().await;
    counts.assert_none_failed();
    lb.wait_until_idle().await;
    let notes = format!(
        "killed, hanging, without the name, then with another server; {} look-ups failed; 99th percentile {}, slowest {}",
        failures(&lb).await,
        shown(counts.percentile(99)),
        shown(counts.slowest)
    );
    row("a DNS server that vanishes", counts.total(), counts.failed(), None, &notes);
}

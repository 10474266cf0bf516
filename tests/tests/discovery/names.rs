//! `dns://name:port`.

use std::net::{Ipv4Addr, Ipv6Addr};

use lb_tests::client::Request;
use lb_tests::dns::Dns;
use lb_tests::engine::Engine;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::until;

use super::*;

async fn three() -> [Origin; 3] {
    let one = Origin::named("one").await;
    let two = one.beside([127, 0, 0, 2], "two").await;
    let three = one.beside([127, 0, 0, 3], "three").await;
    [one, two, three]
}

#[tokio::test]
async fn servers_come_and_go_under_load_and_no_request_fails() {
    let ([one, two, three], mut dns) = (three().await, Dns::start().await);
    set(&mut dns, &[&one]);
    let lb = Lb::start(&named(&dns, &one, "")).await;
    wait_for_servers(&lb, &[&one]).await;
    let load = load(&lb);
    load.more(100).await;
    for now in [&[&one, &two, &three][..], &[&two, &three], &[&two], &[&one, &two, &three]] {
        set(&mut dns, now);
        wait_for_servers(&lb, now).await;
        wait_for_use(now).await;
        for gone in [&one, &two, &three]
            .iter()
            .filter(|origin| !now.iter().any(|now| now.addr() == origin.addr()))
        {
            until("a server that is gone has no request under way", async || gone.active() == 0).await;
            let count = gone.count();
            load.more(100).await;
            assert_eq!(gone.count(), count, "a server that is gone gets requests");
        }
    }
    load.stop().await.assert_none_failed();
}

#[tokio::test]
async fn over_the_pingora_engine_servers_come_and_go_as_well() {
    let ([one, two, _], mut dns) = (three().await, Dns::start().await);
    set(&mut dns, &[&one]);
    let lb = Lb::setup(&named(&dns, &one, "")).engine(Engine::Pingora).start().await;
    let load = load(&lb);
    load.more(100).await;
    set(&mut dns, &[&two]);
    wait_for_servers(&lb, &[&two]).await;
    wait_for_use(&[&two]).await;
    load.stop().await.assert_none_failed();
}

#[tokio::test]
async fn a_request_ends_on_the_server_that_it_began_on_though_that_is_gone() {
    let (one, mut dns) = (Origin::held("one").await, Dns::start().await);
    let two = one.beside([127, 0, 0, 2], "two").await;
    set(&mut dns, &[&one]);
    let lb = Lb::start(&named(&dns, &one, "")).await;
    let mut connection = lb.connect().await;
    let pending = tokio::spawn(async move { connection.send(&Request::get("/")).await });
    one.wait_for(1).await;
    set(&mut dns, &[&two]);
    wait_for_servers(&lb, &[&two]).await;
    assert_eq!(lb.get("/").await.text(), "two");
    one.release_all();
    assert_eq!(pending.await.unwrap().unwrap().text(), "one");
    let metrics = lb.metrics().await;
    let of = |origin: &Origin| metrics.sum("lb_upstream_requests_total", &[("server", &origin.addr().to_string())]);
    assert_eq!((of(&one), of(&two) > 0.0), (0.0, true));
}

#[tokio::test]
async fn without_an_answer_the_last_good_set_stays_under_load_until_there_is_another() {
    let ([one, two, three], mut dns) = (three().await, Dns::start().await);
    set(&mut dns, &[&one, &two]);
    let lb = Lb::start(&named(&dns, &one, "")).await;
    wait_for_servers(&lb, &[&one, &two]).await;
    let load = load(&lb);
    load.more(100).await;
    dns.stop();
    wait_for_failure(&lb).await;
    wait_for_use(&[&one, &two]).await;
    let failures = lb.metrics().await.sum("lb_discovery_failures_total", &[("upstream", "app")]);
    assert!(failures >= 1.0);
    until("it is tried again", async || {
        lb.metrics().await.sum("lb_discovery_failures_total", &[("upstream", "app")]) > failures
    })
    .await;
    assert_eq!(
        lb.stderr().matches("the last good ones stay").count(),
        1,
        "it is said once: {}",
        lb.stderr()
    );
    set(&mut dns, &[&three]);
    dns.start_again().await;
    wait_for_servers(&lb, &[&three]).await;
    assert!(discovery(&lb).await["error"].is_null());
    wait_for_use(&[&three]).await;
    load.stop().await.assert_none_failed();
}

#[tokio::test]
async fn a_name_that_is_gone_keeps_its_servers() {
    let ([one, two, _], mut dns) = (three().await, Dns::start().await);
    set(&mut dns, &[&one, &two]);
    let lb = Lb::start(&named(&dns, &one, "")).await;
    wait_for_servers(&lb, &[&one, &two]).await;
    set(&mut dns, &[]);
    wait_for_failure(&lb).await;
    assert!(discovery(&lb).await["error"].as_str().unwrap().contains("NXDOMAIN"));
    wait_for_servers(&lb, &[&one, &two]).await;
    assert_eq!(lb.get("/").await.status, 200);
    set(&mut dns, &[&two]);
    wait_for_servers(&lb, &[&two]).await;
}

#[tokio::test]
async fn a_name_server_that_hangs_delays_neither_start_nor_requests() {
    let ([one, two, _], mut dns) = (three().await, Dns::start().await);
    dns.hang();
    let lb = Lb::setup(&named(&dns, &one, "retry = \"off\"")).unready().start().await;
    let answer = lb.get("/").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    dns.go_on();
    set(&mut dns, &[&one]);
    wait_for_servers(&lb, &[&one]).await;
    assert_eq!(lb.get("/").await.text(), "one");
    let load = load(&lb);
    dns.hang();
    wait_for_failure(&lb).await;
    wait_for_use(&[&one]).await;
    dns.go_on();
    set(&mut dns, &[&two]);
    wait_for_servers(&lb, &[&two]).await;
    load.stop().await.assert_none_failed();
}

#[tokio::test]
async fn a_name_may_appear_after_the_start() {
    let (one, mut dns) = (Origin::named("one").await, Dns::start().await);
    let lb = Lb::setup(&named(&dns, &one, "")).unready().start().await;
    assert_eq!(lb.get("/").await.status, 503);
    assert_eq!(lb.admin_get("/readyz").await.status, 503);
    assert!(discovery(&lb).await["refreshed_at"].is_null());
    set(&mut dns, &[&one]);
    until("it is found", async || lb.get("/").await.status == 200).await;
    assert_eq!(lb.admin_get("/readyz").await.status, 200);
    assert!(discovery(&lb).await["refreshed_at"].is_string());
}

#[tokio::test]
async fn addresses_of_both_families_are_servers_and_their_order_is_no_change() {
    let (one, mut dns) = (Origin::named("one").await, Dns::start().await);
    let six = one.beside(Ipv6Addr::LOCALHOST, "six").await;
    let mapped = one.addr().ip();
    dns.set(
        NAME,
        &[one.addr().ip(), six.addr().ip(), Ipv4Addr::new(127, 0, 0, 9).into(), mapped],
    );
    let lb = Lb::start(&named(&dns, &one, "")).await;
    until("three are found", async || lb.servers("app").await.len() == 3).await;
    set(&mut dns, &[&one, &six]);
    wait_for_servers(&lb, &[&one, &six]).await;
    let said = || lb.stderr().matches("servers have changed").count();
    let before = said();
    for _ in 0..3 {
        let refreshed = discovery(&lb).await["refreshed_at"].clone();
        dns.set(NAME, &[six.addr().ip(), one.addr().ip()]);
        until("it was looked up again", async || discovery(&lb).await["refreshed_at"] != refreshed).await;
    }
    assert_eq!(said(), before, "{}", lb.stderr());
    let load = load(&lb);
    wait_for_use(&[&one, &six]).await;
    load.stop().await.assert_none_failed();
}

#[tokio::test]
async fn what_an_entry_says_holds_for_each_address() {
    let ([one, two, three], mut dns) = (three().await, Dns::start().await);
    set(&mut dns, &[&one, &two]);
    let config = format!(
        "[upstreams.app]\nservers = [\"{}\", {{ address = \"dns://{NAME}:{}\", nameserver = \"{}\", weight = 3, max_connections = 7, backup = true }}]\n",
        three.addr(),
        one.addr().port(),
        dns.addr()
    );
    let lb = Lb::start(&config).await;
    wait_for_servers(&lb, &[&one, &two, &three]).await;
    let status = lb.status().await;
    for server in &status["upstreams"][0]["servers"].as_array().unwrap()[1..] {
        assert_eq!(
            (&server["weight"], &server["max_connections"], &server["backup"]),
            (&3.into(), &7.into(), &true.into())
        );
    }
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.text(), "three");
    }
}

#[tokio::test]
async fn checks_of_new_servers_begin_and_those_of_servers_that_are_gone_end() {
    let ([one, two, _], mut dns) = (three().await, Dns::start().await);
    set(&mut dns, &[&one]);
    let check = "health_check = { type = \"http\", path = \"/check\", interval = \"50ms\", rise = 1, fall = 1 }";
    let lb = Lb::start(&named(&dns, &one, check)).await;
    lb.wait_for_state("app", one.addr(), "healthy").await;
    assert!(two.checks().is_empty());
    two.set_check(Reply::new(500));
    set(&mut dns, &[&one, &two]);
    wait_for_servers(&lb, &[&one, &two]).await;
    lb.wait_for_state("app", two.addr(), "unhealthy").await;
    two.set_check(Reply::text("ok"));
    lb.wait_for_state("app", two.addr(), "healthy").await;
    set(&mut dns, &[&two]);
    wait_for_servers(&lb, &[&two]).await;
    assert_eq!(
        lb.server("app", two.addr()).await.state,
        "healthy",
        "what is known of a server that stays stays"
    );
    until("a check that was under way is over", async || {
        let before = one.checks().len();
        let others = two.checks().len();
        until("some time passes", async || two.checks().len() > others + 3).await;
        one.checks().len() == before
    })
    .await;
}

#[tokio::test]
async fn without_a_name_server_of_its_own_the_system_is_asked() {
    let one = Origin::named("one").await;
    let config = format!("[upstreams.app]\nservers = [\"dns://localhost:{}\"]\n", one.addr().port());
    let lb = Lb::start(&config).await;
    assert_eq!(lb.get("/").await.text(), "one");
}

//! Reloads in between.

use lb_tests::dns::Dns;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::wait::until;

use super::*;

#[tokio::test]
async fn a_reload_takes_what_was_found_along_and_never_fails_for_a_name() {
    let (one, mut dns) = (Origin::named("one").await, Dns::start().await);
    let two = one.beside([127, 0, 0, 2], "two").await;
    set(&mut dns, &[&one]);
    let mut lb = Lb::start(&named(&dns, &one, "")).await;
    wait_for_servers(&lb, &[&one]).await;
    dns.stop();
    wait_for_failure(&lb).await;
    let load = load(&lb);
    let more = format!(
        "{}\n[upstreams.late]\nservers = [{{ address = \"dns://late.internal:{}\", nameserver = \"{}\" }}]\n\n[[routes]]\nupstream = \"app\"\n\n\
         [[routes]]\npath = \"/late\"\nupstream = \"late\"\n",
        named(&dns, &one, "balance = \"random\""),
        two.addr().port(),
        dns.addr()
    );
    lb.reload(&more).await;
    wait_for_servers(&lb, &[&one]).await;
    assert_eq!(lb.get("/late").await.status, 503);
    set(&mut dns, &[&one, &two]);
    dns.set("late.internal", &[two.addr().ip()]);
    dns.start_again().await;
    wait_for_servers(&lb, &[&one, &two]).await;
    until("the new name is found", async || lb.get("/late").await.status == 200).await;
    lb.reload(&named(&dns, &one, "")).await;
    wait_for_use(&[&one, &two]).await;
    load.stop().await.assert_none_failed();
}

#[tokio::test]
async fn reloads_and_changes_at_once_lose_nothing() {
    let (one, mut dns) = (Origin::named("one").await, Dns::start().await);
    let two = one.beside([127, 0, 0, 2], "two").await;
    set(&mut dns, &[&one]);
    let mut lb = Lb::start(&named(&dns, &one, "")).await;
    let load = load(&lb);
    for round in 0..6 {
        let now: &[&Origin] = if round % 2 == 0 { &[&one, &two] } else { &[&two] };
        set(&mut dns, now);
        lb.reload(&named(&dns, &one, &format!("keepalive = {}", 100 + round))).await;
        wait_for_servers(&lb, now).await;
    }
    load.stop().await.assert_none_failed();
}

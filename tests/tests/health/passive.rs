//! Passive ejection: what clients' requests tell about a server.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;
use lb_tests::wait::{throughout, until};

/// Answers everything, but closes without a byte on one path, and on HEAD.
async fn allergic() -> Origin {
    Origin::start(|seen| {
        if seen.target == "/poison" || seen.method == "HEAD" {
            Reply::close()
        } else {
            Reply::text("good")
        }
    })
    .await
}

async fn ejected(lb: &Lb) -> usize {
    lb.servers("app").await.iter().filter(|server| server.state == "ejected").count()
}

/// Sends 40 poisonous requests among good ones to a pool of so many, and checks how many end up ejected.
async fn poison(count: usize, percent: u8, due: usize) {
    let mut origins = Vec::new();
    for _ in 0..count {
        origins.push(allergic().await);
    }
    let addresses: Vec<_> = origins.iter().map(Origin::addr).collect();
    let passive = format!("passive_health = {{ failures = 5, window = \"60s\", eject = \"60s\", max_ejected_percent = {percent} }}");
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n{passive}\n", servers(&addresses))).await;
    for number in 0..40 {
        let request = if number % 2 == 0 {
            Request::get("/poison")
        } else {
            Request::head("/")
        };
        assert_eq!(lb.send(&request).await.status, 502);
        assert_eq!(lb.get("/good").await.text(), "good");
        let out = ejected(&lb).await;
        assert!(
            out <= due,
            "{out} of {count} ejected at {percent} % after {number} poisonous requests"
        );
    }
    assert_eq!(ejected(&lb).await, due, "of {count} at {percent} %");
}

#[tokio::test]
async fn c04_one_bad_kind_of_request_ejects_at_most_half_of_a_pool() {
    poison(3, 50, 1).await;
}

#[tokio::test]
async fn c04_or_the_share_that_is_set_rounded_down() {
    poison(3, 67, 2).await;
}

#[tokio::test]
async fn c04_and_never_the_last_one() {
    poison(1, 100, 0).await;
}

#[tokio::test]
async fn c04_a_request_charges_one_server_only() {
    let origins = [allergic().await, allergic().await, allergic().await];
    let passive = "passive_health = { failures = 1, window = \"60s\", eject = \"60s\", max_ejected_percent = 100 }";
    let addresses: Vec<_> = origins.iter().map(Origin::addr).collect();
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n{passive}\n", servers(&addresses))).await;
    assert_eq!(lb.get("/poison").await.status, 502);
    assert!(
        origins.iter().filter(|origin| origin.count() > 0).count() > 1,
        "it was tried on several servers"
    );
    assert_eq!(ejected(&lb).await, 1);
}

#[tokio::test]
async fn a_server_that_fails_is_ejected_and_comes_back_by_itself() {
    let (good, bad) = (Origin::named("good").await, Origin::start(|_| Reply::reset()).await);
    let passive = "passive_health = { failures = 3, window = \"60s\", eject = \"3s\" }";
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n{passive}\n",
        servers(&[good.addr(), bad.addr()])
    ))
    .await;
    until("it is ejected", async || {
        assert_eq!(lb.get("/").await.text(), "good", "a retry hides the failure");
        ejected(&lb).await == 1
    })
    .await;
    assert!(bad.count() >= 3, "ejected after {} failures", bad.count());
    let tried = bad.count();
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.text(), "good");
    }
    // unless those took longer than the ejection
    if ejected(&lb).await == 1 {
        assert_eq!(bad.count(), tried, "an ejected server was used");
    }
    assert!(lb.server("app", bad.addr()).await.ejections >= 1);
    let labels = [("upstream", "app"), ("server", &bad.addr().to_string() as &str)];
    assert!(lb.metrics().await.sum("lb_upstream_ejections_total", &labels) >= 1.0);
    bad.set(|_| Reply::text("better"));
    until("it is back and used", async || lb.get("/").await.text() == "better").await;
}

#[tokio::test]
async fn statuses_502_503_and_504_count_and_others_do_not() {
    for (status, counts) in [(502, true), (503, true), (504, true), (500, false), (404, false)] {
        let (good, bad) = (Origin::named("good").await, Origin::start(move |_| Reply::new(status)).await);
        let settings = "passive_health = { failures = 2, window = \"60s\", eject = \"60s\" }\nretry = \"off\"";
        let lb = Lb::start(&format!(
            "[upstreams.app]\nservers = [{}]\n{settings}\n",
            servers(&[good.addr(), bad.addr()])
        ))
        .await;
        for _ in 0..12 {
            lb.get("/").await;
        }
        assert_eq!(ejected(&lb).await, usize::from(counts), "after {} answers of {status}", bad.count());
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_is_nobody_s_failure() {
    let origins = [Origin::held("a").await, Origin::held("b").await];
    let passive = "passive_health = { failures = 1, window = \"60s\", eject = \"60s\" }";
    let addresses: Vec<_> = origins.iter().map(Origin::addr).collect();
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n{passive}\n", servers(&addresses))).await;
    for number in 1..=6 {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/").bytes()).await;
        until("it is at a server", async || {
            origins.iter().map(Origin::count).sum::<usize>() == number
        })
        .await;
        connection.reset();
        lb.wait_until_idle().await;
    }
    throughout(Duration::from_millis(200), "nobody is ejected", async || ejected(&lb).await == 0).await;
}

#[tokio::test]
async fn off_is_off() {
    let (good, bad) = (Origin::named("good").await, Origin::start(|_| Reply::reset()).await);
    let settings = "passive_health = \"off\"";
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n{settings}\n",
        servers(&[good.addr(), bad.addr()])
    ))
    .await;
    for _ in 0..30 {
        lb.get("/").await;
    }
    assert_eq!(ejected(&lb).await, 0);
    assert!(bad.count() >= 10, "it is still tried: {}", bad.count());
}

#[tokio::test]
async fn a_server_that_fails_again_when_it_is_back_is_out_for_longer() {
    let (good, bad) = (Origin::named("good").await, Origin::start(|_| Reply::reset()).await);
    let passive = "passive_health = { failures = 1, window = \"10s\", eject = \"500ms\" }";
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n{passive}\n",
        servers(&[good.addr(), bad.addr()])
    ))
    .await;
    let mut ended = Vec::new();
    for number in 1..=4 {
        until("it is ejected again", async || {
            lb.get("/").await;
            lb.server("app", bad.addr()).await.ejections == number
        })
        .await;
        ended.push(std::time::Instant::now());
    }
    // 0.5, 1 and 2 s at least, seen late on a busy machine but never early
    let gaps: Vec<_> = ended.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(ended[3] - ended[0] >= Duration::from_millis(3_300), "{gaps:?}");
    let log = lb.stderr();
    for time in ["500ms", "1s", "2s", "4s"] {
        assert!(log.contains(&format!("ejected for {time} after 1 failures")), "{time}: {log}");
    }
}

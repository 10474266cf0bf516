//! What a reload changes, and what it leaves alone.

use lb_tests::client::Request;
use lb_tests::command;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::servers;
use lb_tests::wait::until;

use super::versioned;

#[tokio::test]
async fn sighup_the_api_and_the_command_do_the_same() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&versioned(&origin, 1)).await;
    lb.reload(&versioned(&origin, 2)).await;
    assert_eq!(lb.get("/version").await.text(), "2");

    lb.write_config(&versioned(&origin, 3));
    let answer = lb.reload_by_api().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // done when it is answered, and says what it did
    assert_eq!(lb.get("/version").await.text(), "3");
    assert!(answer.json().is_object());

    lb.write_config(&versioned(&origin, 4));
    let done = command::lb(&["reload", "-c", &lb.config_path()]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(lb.get("/version").await.text(), "4");

    lb.write_config(&versioned(&origin, 5));
    let done = command::lb(&["reload", "--admin", &lb.admin_addr().to_string()]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(lb.get("/version").await.text(), "5");
    assert_eq!(lb.reloads().await, (4, 0));
}

#[tokio::test]
async fn the_command_fails_when_the_reload_does() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&versioned(&origin, 1)).await;
    lb.write_config("[limits]\nmax_body = \"huge\"\n");
    let done = command::lb(&["reload", "--admin", &lb.admin_addr().to_string()]).await;
    assert_ne!(done.code, 0);
    assert!(done.stderr.contains("max_body"), "{done:?}");
    assert_eq!(lb.get("/version").await.text(), "1");
}

#[tokio::test]
async fn a_request_under_way_ends_by_the_configuration_that_it_began_with() {
    let old = Origin::held("old").await;
    let new = Origin::named("new").await;
    let mut lb = Lb::start(&versioned(&old, 1)).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    old.wait_for(1).await;
    lb.reload(&versioned(&new, 2)).await;
    assert_eq!(lb.get("/").await.text(), "new");
    old.release_all();
    assert_eq!(connection.response("GET").await.unwrap().text(), "old");
    // the same connection goes on with the new one
    assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "new");
}

#[tokio::test]
async fn what_only_a_restart_can_change_is_refused_with_a_reason() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&versioned(&origin, 1)).await;
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\nthreads = 7\n\n";
    lb.write_config(&format!("{server}{}", versioned(&origin, 2)));
    assert!(!lb.hang_up().await, "a changed number of threads was taken");
    let answer = lb.reload_by_api().await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("threads"), "{}", answer.text());
    assert_eq!(lb.get("/version").await.text(), "1", "nothing of it is used");
    assert_eq!(lb.reloads().await, (0, 2));
}

#[tokio::test]
async fn servers_keep_their_counts_and_new_ones_begin_with_none() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let config = |list: &str| format!("[upstreams.app]\nservers = [{list}]\n");
    let mut lb = Lb::start(&config(&servers(&[a.addr()]))).await;
    for _ in 0..5 {
        lb.get("/").await;
    }
    lb.reload(&config(&servers(&[a.addr(), b.addr()]))).await;
    assert_eq!(lb.server("app", a.addr()).await.requests, 5);
    assert_eq!(lb.server("app", b.addr()).await.requests, 0);
    // weights may change without losing anything
    lb.reload(&config(&format!("{{ address = \"{}\", weight = 7 }}, \"{}\"", a.addr(), b.addr())))
        .await;
    assert_eq!(lb.server("app", a.addr()).await.requests, 5);
}

#[tokio::test]
async fn series_of_removed_servers_and_routes_vanish() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let mut lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n", servers(&[a.addr(), b.addr()]))).await;
    for _ in 0..4 {
        lb.get("/").await;
    }
    let gone = b.addr().to_string();
    assert!(
        lb.metrics()
            .await
            .find("lb_upstream_healthy", &[("server", &gone)])
            .next()
            .is_some()
    );
    lb.reload(&format!("[upstreams.app]\nservers = [{}]\n", servers(&[a.addr()]))).await;
    until("the removed server's series are gone", async || {
        lb.metrics().await.0.iter().all(|sample| sample.labels.get("server") != Some(&gone))
    })
    .await;
    assert_eq!(lb.servers("app").await.len(), 1);
}

#[tokio::test]
async fn the_status_says_how_the_reloads_went() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&versioned(&origin, 1)).await;
    lb.reload(&versioned(&origin, 2)).await;
    lb.write_config("nonsense");
    assert!(!lb.hang_up().await);
    let config = &lb.status().await["config"];
    assert_eq!(
        (&config["reloads_ok"], &config["reloads_failed"]),
        (&1.into(), &1.into()),
        "{config}"
    );
    assert!(config["file"].as_str().is_some_and(|file| file.ends_with("lb.toml")), "{config}");
}

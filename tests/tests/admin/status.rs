//! `/api/status`.

use lb_tests::client::Request;
use lb_tests::wait::until;

use super::plain;

#[tokio::test]
async fn it_has_all_that_the_dashboard_shows() {
    let (lb, origin) = plain().await;
    for _ in 0..3 {
        lb.get("/users").await;
    }
    lb.wait_until_idle().await;
    lb.metrics_after(3).await;
    let status = lb.status().await;
    assert_eq!(
        status["version"]
            .as_str()
            .map(|version| version.starts_with(env!("CARGO_PKG_VERSION"))),
        Some(true),
        "{status}"
    );
    assert!(status["uptime_seconds"].is_number(), "{status}");
    assert!(
        status["config"]["loaded_at"].is_string() || status["config"]["loaded_at"].is_number(),
        "{status}"
    );
    assert_eq!(status["draining"], false);
    assert!(status["connections"].is_u64(), "{status}");
    let upstream = &status["upstreams"][0];
    assert_eq!(
        (&upstream["name"], &upstream["balance"]),
        (&"users".into(), &"least_conn".into()),
        "{status}"
    );
    let server = &upstream["servers"][0];
    assert_eq!(server["address"], origin.addr().to_string());
    assert_eq!(
        (&server["weight"], &server["backup"], &server["state"]),
        (&1.into(), &false.into(), &"healthy".into()),
        "{server}"
    );
    assert_eq!(
        (&server["in_flight"], &server["requests"], &server["ejections"]),
        (&0.into(), &3.into(), &0.into()),
        "{server}"
    );
    let routes = status["routes"].as_array().unwrap();
    let route = routes
        .iter()
        .find(|route| route["name"] == "people")
        .unwrap_or_else(|| panic!("{status}"));
    assert_eq!((&route["requests"], &route["errors"]), (&3.into(), &0.into()), "{route}");
    assert!(status["cache"]["bytes"].is_u64() && status["cache"]["objects"].is_u64(), "{status}");
    assert_eq!(status["access_log"]["dropped"], 0);
}

#[tokio::test]
async fn requests_under_way_are_counted_while_they_last() {
    let (lb, origin) = plain().await;
    origin.set(|_| lb_tests::origin::Reply::text("late").held());
    let mut connection = lb.connect().await;
    connection.write(Request::get("/users").bytes()).await;
    origin.wait_for(1).await;
    until("it is counted", async || lb.server("users", origin.addr()).await.in_flight == 1).await;
    origin.release_all();
    connection.response("GET").await.unwrap();
    lb.wait_until_idle().await;
}

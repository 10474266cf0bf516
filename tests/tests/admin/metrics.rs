//! `/metrics`: the names and labels that dashboards are built on.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;

use super::plain;

#[tokio::test]
async fn every_name_has_its_labels() {
    let origin = Origin::start(|_| Reply::text("a").header("Cache-Control", "max-age=60")).await;
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n\n[[routes]]\nname = \"main\"\npath = \"/\"\nupstream = \"app\"\ncache = {{ ttl = \"0s\" }}\n",
        servers(&[origin.addr()])
    ))
    .await;
    for _ in 0..3 {
        lb.get("/").await;
    }
    lb.wait_until_idle().await;
    lb.reload_by_api().await;
    let metrics = lb.metrics_after(3).await;
    let server = origin.addr().to_string();
    let mut missing = Vec::new();
    for (name, labels) in [
        ("lb_requests_total", vec![("route", "main"), ("method", "GET"), ("code", "200")]),
        ("lb_request_duration_seconds_count", vec![("route", "main")]),
        ("lb_request_duration_seconds_sum", vec![("route", "main")]),
        ("lb_request_duration_seconds_bucket", vec![("route", "main"), ("le", "+Inf")]),
        (
            "lb_upstream_requests_total",
            vec![("upstream", "app"), ("server", server.as_str()), ("code", "200")],
        ),
        ("lb_upstream_latency_seconds_count", vec![("upstream", "app")]),
        ("lb_upstream_latency_seconds_bucket", vec![("upstream", "app"), ("le", "+Inf")]),
        ("lb_upstream_active_requests", vec![("upstream", "app"), ("server", &server)]),
        ("lb_upstream_healthy", vec![("upstream", "app"), ("server", &server)]),
        ("lb_upstream_ejections_total", vec![("upstream", "app"), ("server", &server)]),
        ("lb_upstream_panic_total", vec![("upstream", "app")]),
        ("lb_retries_total", vec![("upstream", "app")]),
        ("lb_cache_requests_total", vec![("route", "main"), ("status", "hit")]),
        ("lb_cache_requests_total", vec![("route", "main"), ("status", "miss")]),
        ("lb_cache_bytes", vec![]),
        ("lb_cache_objects", vec![]),
        ("lb_connections", vec![]),
        ("lb_config_reloads_total", vec![("result", "ok")]),
        ("lb_access_log_dropped_total", vec![]),
        ("lb_build_info", vec![("version", env!("CARGO_PKG_VERSION"))]),
    ] {
        let Some(sample) = metrics.find(name, &labels).next() else {
            missing.push(format!("{name} {labels:?}"));
            continue;
        };
        let mut found: Vec<&str> = sample.labels.keys().map(String::as_str).collect();
        let mut due: Vec<&str> = labels
            .iter()
            .map(|(label, _)| *label)
            .chain((name == "lb_build_info").then_some("revision"))
            .collect();
        found.sort_unstable();
        due.sort_unstable();
        if found != due {
            missing.push(format!("{name} has the labels {found:?}, not {due:?}"));
        }
    }
    assert!(missing.is_empty(), "{}\n{metrics:?}", missing.join("\n"));
    assert_eq!(metrics.sum("lb_requests_total", &[]), 3.0);
    assert_eq!(metrics.sum("lb_request_duration_seconds_count", &[("route", "main")]), 3.0);
    assert_eq!(metrics.sum("lb_upstream_requests_total", &[]), 1.0);
    assert_eq!(metrics.value("lb_upstream_healthy", &[]), Some(1.0));
    assert_eq!(metrics.value("lb_access_log_dropped_total", &[]), Some(0.0));
}

#[tokio::test]
async fn it_is_prometheus_text() {
    let (lb, _origin) = plain().await;
    lb.get("/users").await;
    lb.metrics_after(1).await;
    let answer = lb.admin_get("/metrics").await;
    assert!(
        answer.header("content-type").starts_with("text/plain"),
        "{}",
        answer.header("content-type")
    );
    let text = answer.text();
    assert!(
        text.contains("# TYPE lb_requests_total counter") && text.contains("# HELP lb_requests_total "),
        "{text}"
    );
    assert!(text.contains("# TYPE lb_request_duration_seconds histogram"), "{text}");
}

#[tokio::test]
async fn clients_cannot_make_up_label_values() {
    let (lb, _origin) = plain().await;
    for number in 0..20 {
        lb.send(&Request::new(&format!("FROB{number}"), &format!("/users/{number}")).header("Host", format!("h{number}.test")))
            .await;
        lb.get(&format!("/nowhere/{number}")).await;
    }
    let metrics = lb.metrics_after(40).await;
    assert_eq!(metrics.sum("lb_requests_total", &[("method", "other"), ("route", "people")]), 20.0);
    assert!(metrics.find("lb_requests_total", &[]).count() < 10, "{metrics:?}");
    let text = lb.admin_get("/metrics").await.text();
    assert!(
        !text.contains("FROB") && !text.contains("nowhere") && !text.contains("h7.test"),
        "{text}"
    );
}

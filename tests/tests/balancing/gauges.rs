//! Gauges return to 0 and never go below.

use std::time::Duration;

use futures::future::join_all;
use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::metrics::Samples;
use lb_tests::origin::{Origin, Refusing, Reply, Step};
use lb_tests::servers;
use lb_tests::wait::until;

/// Whether a gauge shows what it must not: below 0, or what a count below 0 wraps round to.
fn is_sane(metrics: &Samples) -> bool {
    let gauges = [
        "lb_upstream_active_requests",
        "lb_connections",
        "lb_cache_bytes",
        "lb_cache_objects",
        "lb_upstream_healthy",
    ];
    gauges
        .iter()
        .flat_map(|name| metrics.find(name, &[]))
        .all(|sample| (0.0..1e12).contains(&sample.value))
}

fn behave(target: &str) -> Reply {
    match target {
        "/reset" => Reply::reset(),
        "/close" => Reply::close(),
        "/never" => Reply::never(),
        "/503" => Reply::new(503),
        "/cut" => Reply::script(vec![Step::write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut"), Step::Close]),
        "/slow" => Reply::text("slow").after(Duration::from_millis(50)),
        "/cached" => Reply::text("cached").header("Cache-Control", "max-age=60"),
        "/tunnel" => Reply::tunnel("websocket"),
        "/ended-tunnel" => {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            Reply::script(vec![Step::write(head), Step::Close])
        }
        _ => Reply::text("good"),
    }
}

/// Makes a request that ends in the `number`th way.
async fn request(lb: &Lb, number: usize) {
    let mut connection = Connection::open(lb.listen()).await.unwrap();
    let get = |target: &str| Request::get(target).header("Connection", "close");
    match number % 16 {
        // gone before, in and after the head
        0 => {}
        1 => connection.write("GET / HTTP/1.1\r\nHo").await,
        2 => connection.write(Request::get("/slow").bytes()).await,
        3 => {
            connection.write(Request::post("/", vec![b'x'; 5000]).head_bytes()).await;
            connection.reset();
        }
        4..=10 => {
            let target = ["/reset", "/close", "/never", "/503", "/cut", "/slow", "/cached"][number % 16 - 4];
            let _ = connection.send(&get(target)).await;
        }
        11 => {
            let _ = connection.send(&Request::post("/", vec![b'x'; 200_000])).await;
        }
        12 => {
            let _ = connection.send(&get("/refused")).await;
        }
        13 | 14 => {
            let target = if number % 16 == 13 { "/tunnel" } else { "/ended-tunnel" };
            let _ = connection
                .send(&Request::get(target).header("Connection", "Upgrade").header("Upgrade", "websocket"))
                .await;
        }
        _ => {
            let _ = connection.send(&get("/")).await;
        }
    }
}

#[tokio::test]
async fn c36_after_requests_that_ended_in_every_way_all_gauges_are_back() {
    let (a, b, refusing) = (
        Origin::start(|seen| behave(&seen.target)).await,
        Origin::start(|seen| behave(&seen.target)).await,
        Refusing::start(),
    );
    let lb = Lb::start(&format!(
        r#"
        [limits]
        max_body = "100KB"

        [upstreams.app]
        servers = [{}]
        timeouts = {{ read = "300ms" }}
        passive_health = "off"

        [upstreams.gone]
        servers = [{}]

        [[routes]]
        path = "/"
        upstream = "app"

        [[routes]]
        path = "/cached"
        upstream = "app"
        cache = {{ ttl = "0s" }}

        [[routes]]
        path = "/refused"
        upstream = "gone"
        "#,
        servers(&[a.addr(), b.addr()]),
        servers(&[refusing.addr()])
    ))
    .await;
    let watch = async {
        loop {
            let metrics = lb.metrics().await;
            assert!(is_sane(&metrics), "a gauge left its range: {metrics:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let work = async {
        for batch in 0..20 {
            join_all((0..25).map(|number| request(&lb, batch * 25 + number))).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = watch => {}
    }
    until("all gauges are back at 0", async || {
        let metrics = lb.metrics().await;
        assert!(is_sane(&metrics), "a gauge left its range: {metrics:?}");
        metrics.sum("lb_upstream_active_requests", &[]) == 0.0 && metrics.sum("lb_connections", &[]) == 0.0
    })
    .await;
    assert!(lb.metrics().await.find("lb_upstream_active_requests", &[]).count() >= 3);
    // the gauge counts at all
    let mut own = Vec::new();
    for _ in 0..3 {
        let mut connection = lb.connect().await;
        connection.send(&Request::get("/")).await.unwrap();
        own.push(connection);
    }
    until("it counts the test's own connections", async || {
        lb.metrics().await.sum("lb_connections", &[]) == 3.0
    })
    .await;
}

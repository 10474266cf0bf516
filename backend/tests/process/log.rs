//! Its log.

use crate::common::{Ask, Database, Kind, Process, metric, run, until};

#[tokio::test]
async fn each_request_is_one_line_of_json() {
    let database = Database::new(Kind::Sqlite).await;
    let mut server = Process::start(&database.url, &[("TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")]).await;
    server.until_ready().await;
    assert!(
        server.first_line.contains(&format!("listening on {}", server.addr)),
        "{}",
        server.first_line
    );
    let ask = server
        .get("/users?secret=1")
        .header("x-request-id", "id-1")
        .header("x-forwarded-for", "6.6.6.6, 192.0.2.1, 10.0.0.3");
    assert_eq!(ask.await.status, 200);
    server.ask("BREW", "/a%0Ab\"c").header("x-request-id", "id-2").await;
    server.signal("TERM");
    server.end().await;
    let log = server.log().await;
    let of = |id: &str| {
        log.iter()
            .find(|line| line["request_id"] == id)
            .unwrap_or_else(|| panic!("{id} is not in {log:?}"))
    };
    let list = of("id-1");
    assert_eq!((&list["message"], &list["level"]), (&"request".into(), &"INFO".into()));
    assert_eq!(
        (&list["method"], &list["path"], &list["status"]),
        (&"GET".into(), &"/users".into(), &200.into())
    );
    assert_eq!(list["client"], "192.0.2.1");
    assert!(list["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0));
    assert!(list["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert_eq!((&of("id-2")["method"], &of("id-2")["path"]), (&"BREW".into(), &"/a%0Ab\"c".into()));
    assert!(
        log.iter()
            .any(|line| line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.starts_with("AUTH=off")))
    );
}

#[tokio::test]
async fn without_anybody_who_reads_it_a_server_goes_on_and_counts_what_is_lost() {
    let database = Database::new(Kind::Sqlite).await;
    let mut server = Process::start(&database.url, &[]).await;
    server.until_ready().await;
    server.close_log();
    until("lines to be lost", async || {
        assert_eq!(server.get("/users").await.status, 200);
        metric(server.addr, "backend_log_lines_dropped_total").await > 0
    })
    .await;
}

#[tokio::test]
async fn without_trust_nothing_of_it_is_believed() {
    let database = Database::new(Kind::Sqlite).await;
    let mut server = Process::start(&database.url, &[("TRUSTED_PROXIES", "")]).await;
    server
        .get("/nope")
        .header("x-request-id", "id-1")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-real-ip", "192.0.2.1")
        .await;
    server.signal("TERM");
    server.end().await;
    let log = server.log().await;
    let line = log.iter().find(|line| line["path"] == "/nope").expect("it is logged");
    assert_eq!(line["client"], "127.0.0.1");
    assert_ne!(line["request_id"], "id-1");
}

#[tokio::test]
async fn why_the_database_is_away_is_in_the_log_and_nowhere_else() {
    let mut server = Process::start("postgres://u@127.0.0.1:1/d", &[]).await;
    assert_eq!(server.get("/users").header("x-request-id", "id-1").await.status, 503);
    server.signal("TERM");
    server.end().await;
    let log = server.log().await;
    let line = log.iter().find(|line| line["request_id"] == "id-1").expect("it is logged");
    assert_eq!(line["level"], "ERROR");
    assert!(line["error"].as_str().is_some_and(|text| text.contains("refused")), "{line}");
    assert!(log.iter().any(|line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("waiting for the database"))
    }));
}

#[tokio::test]
async fn pretty_is_for_people() {
    // A database that cannot be makes it end by itself, after it has logged a little.
    let environment = [
        ("DATABASE_URL", "sqlite:/dev/null/users.db"),
        ("AUTH", "off"),
        ("PORT", "0"),
        ("LOG_FORMAT", "pretty"),
    ];
    let output = run(&["serve"], &environment).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("INFO") && text.contains("listening on 127.0.0.1:") && !text.contains('{'),
        "{text}"
    );
}

#[tokio::test]
async fn at_level_error_neither_requests_nor_the_start_are_told() {
    let environment = [
        ("DATABASE_URL", "sqlite:/dev/null/users.db"),
        ("AUTH", "off"),
        ("PORT", "0"),
        ("LOG_LEVEL", "error"),
    ];
    let output = run(&["serve"], &environment).await;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("/dev/null"),
        "why it ended is on standard error"
    );
}

/// Nobody reads its standard output, and the pipe is full.
#[tokio::test]
async fn a_stalled_reader_of_the_log_delays_nobody() {
    let database = Database::new(Kind::Sqlite).await;
    let server = Process::start(&database.url, &[]).await;
    // 64 KiB fit into the pipe; these are at least three times as much.
    for n in 0..1000 {
        let answer = Ask::new(server.addr, "GET", &format!("/nope/{n}")).await;
        assert_eq!(answer.status, 404);
    }
    assert_eq!(server.get("/metrics").await.status, 200);
}

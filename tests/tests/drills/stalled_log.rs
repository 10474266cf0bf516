//! Standard output stalls: a full pipe that nobody reads.

use std::io::Read;
use std::time::{Duration, Instant};

use lb_tests::lb::Lb;
use lb_tests::load::Load;
use lb_tests::origin::Origin;
use lb_tests::report::row;
use lb_tests::servers;
use lb_tests::wait::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_standard_output_delays_no_request_and_lost_lines_are_counted() {
    let origin = Origin::named("origin").await;
    let config = format!("[upstreams.app]\nservers = [{}]\n", servers(&[origin.addr()]));
    let mut lb = Lb::setup(&config).piped().start().await;
    let mut pipe = lb.process.take_pipe().unwrap();
    // long targets fill the pipe, and whatever is before it, sooner
    let targets: Vec<String> = (0..4).map(|number| format!("/{number}/{}", "x".repeat(3000))).collect();
    let load = Load::new(lb.listen(), &targets)
        .connections(16)
        .pace(Duration::ZERO)
        .check(|_, answer| answer.body == b"origin")
        .start();
    let start = Instant::now();
    let dropped = async || lb.metrics().await.sum("lb_access_log_dropped_total", &[]);
    lb_tests::wait::until_within(Duration::from_secs(120), "lines are lost, and counted", async || {
        dropped().await > 0.0
    })
    .await;
    let filled = start.elapsed();
    load.more(2_000).await;
    let counts = load.stop().await;
    counts.assert_none_failed();
    assert!(counts.slowest < Duration::from_secs(3), "a request took {:?}", counts.slowest);
    until("the status says what the metric does", async || {
        let status = lb.status().await;
        status["access_log"]["dropped"].as_f64() == Some(dropped().await)
    })
    .await;
    let lost = dropped().await;

    // when somebody reads again, lines come again
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    });
    until("no more lines are lost", async || {
        let before = dropped().await;
        lb.get("/after").await;
        dropped().await == before
    })
    .await;
    lb.get("/last").await;
    lb.terminate();
    let status = lb.exit_within(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "{status:?}");
    let text = String::from_utf8(reader.join().unwrap()).unwrap();
    let lines = lb_tests::access_log::parse(&text);
    assert!(
        lines.iter().any(|line| lb_tests::access_log::mentions(line, "/last")),
        "the last line was lost at shutdown"
    );
    let notes = format!(
        "full after {filled:.1?}; {lost} lines lost and counted; the slowest request took {:?}",
        counts.slowest
    );
    row("standard output stalled", counts.total(), counts.failed(), None, &notes);
}

#[tokio::test]
async fn a_stalled_standard_output_does_not_keep_it_from_ending() {
    let origin = Origin::named("origin").await;
    let config = format!("[upstreams.app]\nservers = [{}]\n", servers(&[origin.addr()]));
    let mut lb = Lb::setup(&config).piped().start().await;
    let _pipe = lb.process.take_pipe().unwrap();
    let target = format!("/{}", "x".repeat(3000));
    let mut connection = lb.connect().await;
    // more than the 64 KiB that a pipe holds
    for _ in 0..100 {
        assert_eq!(connection.send(&lb_tests::client::Request::get(&target)).await.unwrap().status, 200);
    }
    lb.terminate();
    assert_eq!(lb.exit_within(Duration::from_secs(20)).await.code(), Some(0));
}

//! A broken file at reload, under load.

use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::report::{length, row};

use super::{steady, users};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_leaves_the_old_configuration_at_work() {
    let backends = Backends::start(3).await;
    let good = users(&backends.addrs(), "");
    let mut lb = Lb::start(&good).await;
    let load = steady(&backends, lb.listen()).await.start();
    load.go_on(length(1, 10), 100).await;
    let broken = [
        format!("{good}\n[[routes]\n"),
        good.replace("[upstreams.users]", "[upstreams.users]\nbalance = \"leest_conn\""),
        "[upstreams]\n".into(),
    ];
    for (number, text) in broken.iter().enumerate() {
        let before = lb.stderr().len();
        lb.write_config(text);
        assert!(!lb.hang_up().await, "a broken file was taken: {text}");
        assert_eq!(lb.reloads().await, (0, number as u64 + 1));
        let log = &lb.stderr()[before..];
        assert!(log.contains("lb.toml"), "the log does not say what is wrong: {log}");
        assert_eq!(lb.servers("users").await.len(), 3, "the old servers are still there");
        load.go_on(length(0, 5), 50).await;
    }
    lb.reload(&good).await;
    load.go_on(length(0, 5), 100).await;
    let counts = load.stop().await;
    counts.assert_none_failed();
    assert_eq!(lb.reloads().await, (1, 3));
    row(
        "a broken file at reload",
        counts.total(),
        counts.failed(),
        None,
        "3 refused and counted, then a good one taken",
    );
}

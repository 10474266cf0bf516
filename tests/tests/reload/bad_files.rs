//! A bad file changes nothing; the next good one works.

use std::time::Duration;

use lb_tests::command;
use lb_tests::lb::Lb;
use lb_tests::load::Load;
use lb_tests::origin::Origin;
use lb_tests::wait::until;

use super::versioned;

/// Files that must not be taken, and a word that the error has to have.
fn bad(origin: &Origin) -> Vec<(&'static str, String, &'static str)> {
    let good = versioned(origin, 9);
    vec![
        ("a syntax error", format!("{good}\n[[routes]\n"), "lb.toml"),
        ("an unknown key", format!("{good}\n[limits]\nmax_boddy = \"1MB\"\n"), "max_body"),
        (
            "a bad duration",
            format!("{good}\n[limits]\nidle_timeout = \"soon\"\n"),
            "idle_timeout",
        ),
        (
            "an unknown upstream",
            format!("{good}\n[[routes]]\npath = \"/x\"\nupstream = \"ap\"\n"),
            "app",
        ),
        (
            "the same route twice",
            format!("{good}\n[[routes]]\npath = \"/version\"\nupstream = \"app\"\n"),
            "the same route twice",
        ),
        (
            "an unset variable",
            format!("{good}\n[upstreams.other]\nservers = [\"${{LB_TEST_UNSET}}:1\"]\n"),
            "LB_TEST_UNSET",
        ),
    ]
}

#[tokio::test]
async fn c25_under_load_a_bad_file_fails_no_request_and_the_next_good_one_works() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&versioned(&origin, 1)).await;
    let load = Load::new(lb.listen(), &["/a", "/version"])
        .connections(8)
        .pace(Duration::from_millis(10));
    let load = load
        .check(|target, answer| {
            if target == "/a" {
                answer.body == b"origin"
            } else {
                matches!(answer.body.as_slice(), b"1" | b"2")
            }
        })
        .start();
    let mut failed = 0;
    for (what, text, word) in bad(&origin) {
        lb.write_config(&text);
        assert!(!lb.hang_up().await, "{what} was taken");
        failed += 1;
        assert_eq!(lb.reloads().await, (0, failed), "{what}");
        until("the reason is in the log", async || lb.stderr().contains(word)).await;
        let answer = lb.reload_by_api().await;
        failed += 1;
        assert_eq!(answer.status, 400, "{what}");
        assert!(answer.text().contains(word), "{what}: {word:?} is not in {}", answer.text());
        assert_eq!(lb.get("/version").await.text(), "1", "{what}");
    }
    lb.write_config_exactly("");
    assert!(!lb.hang_up().await, "an empty file was taken");
    lb.reload(&versioned(&origin, 2)).await;
    assert_eq!(lb.get("/version").await.text(), "2");
    load.more(50).await;
    load.stop().await.assert_none_failed();
}

#[tokio::test]
async fn c25_all_errors_are_told_at_once_each_with_line_and_column() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&versioned(&origin, 1)).await;
    lb.write_config_exactly("[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\n\n[limits]\nidle_timeout = \"soon\"\nmax_body = \"huge\"\n\n[upstreams.app]\nservers = []\n");
    let answer = lb.reload_by_api().await;
    assert_eq!(answer.status, 400);
    // as text or as fields of their own
    let text = answer.text().replace(' ', "");
    for (line, column) in [(6, 16), (7, 12)] {
        let fields = text.contains(&format!("\"line\":{line}")) && text.contains(&format!("\"column\":{column}"));
        assert!(
            text.contains(&format!("{line}:{column}")) || fields,
            "{line}:{column} is not in {text}"
        );
    }
    let check = command::lb(&["check", "-c", &lb.config_path()]).await;
    assert_eq!(check.code, 2, "{check:?}");
    for place in ["lb.toml:6:16", "lb.toml:7:12", "lb.toml:10:"] {
        assert!(check.stderr.contains(place), "{place} is not in {}", check.stderr);
    }
}

#[tokio::test]
async fn a_file_that_is_gone_changes_nothing() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&versioned(&origin, 1)).await;
    std::fs::remove_file(lb.config_path()).unwrap();
    assert!(!lb.hang_up().await);
    assert_eq!(lb.get("/version").await.text(), "1");
    lb.reload(&versioned(&origin, 2)).await;
    assert_eq!(lb.get("/version").await.text(), "2");
}

//! `lb simulate`: what it takes, what it prints, and what it exits with. What it shows stands in `docs/SIMULATE.md`, which is tested too.

use std::fs;

use lb_tests::command::{self, Outcome};
use lb_tests::lb::Lb;
use serde_json::Value;

const UPSTREAMS: &str =
    "[upstreams.app]\nbalance = \"hash\"\nhash_on = \"path\"\nservers = [\"10.0.0.1:80\", { address = \"10.0.0.2:80\", weight = 3 }]\n";
const ROUTE: &str = "\n[[routes]]\nupstream = \"app\"\n";

async fn simulate(arguments: &[&str]) -> Outcome {
    command::lb(&[&["simulate"], arguments].concat()).await
}

async fn json(arguments: &[&str]) -> Value {
    let outcome = simulate(&[arguments, &["--json"]].concat()).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

fn algorithms(shown: &Value) -> Vec<&str> {
    let all = shown["algorithms"].as_array().unwrap().iter();
    all.map(|one| one["algorithm"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_file_gives_servers_weights_and_the_algorithm() {
    let setup = Lb::setup(&format!("{UPSTREAMS}{ROUTE}"));
    let path = setup.write().display().to_string();
    let shown = json(&["-c", &path, "--requests", "500"]).await;
    assert_eq!(algorithms(&shown), ["hash"]);
    let one = &shown["algorithms"][0];
    assert_eq!((&one["requests"], &one["failed"]), (&500.into(), &0.into()));
    assert_eq!(
        (&one["servers"][1]["address"], &one["servers"][1]["weight"]),
        (&"10.0.0.2:80".into(), &3.into())
    );
    let all = json(&["-c", &path, "--requests", "50", "--compare"]).await;
    let names = algorithms(&all);
    assert!(
        ["least_conn", "round_robin", "random", "p2c", "hash"]
            .iter()
            .all(|name| names.contains(name)),
        "{names:?}"
    );
    let two = json(&[
        "-c",
        &path,
        "--requests",
        "50",
        "--algorithm",
        "p2c",
        "--algorithm",
        "random",
        "--servers",
        "40",
    ])
    .await;
    assert_eq!((algorithms(&two), &two["servers"]), (vec!["p2c", "random"], &40.into()));
}

#[tokio::test]
async fn one_of_several_upstreams_has_to_be_named() {
    let other = "[upstreams.other]\nservers = [\"10.0.0.9:80\"]\n";
    let setup = Lb::setup(&format!("{UPSTREAMS}\n{other}{ROUTE}"));
    let path = setup.write().display().to_string();
    let outcome = simulate(&["-c", &path]).await;
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(outcome.stderr.contains("--upstream with one of app, other"), "{outcome:?}");
    let outcome = simulate(&["-c", &path, "--upstream", "apps"]).await;
    assert!(
        outcome.code == 2 && outcome.stderr.contains("(app, other), found \"apps\""),
        "{outcome:?}"
    );
    let shown = json(&["-c", &path, "--upstream", "other", "--requests", "10"]).await;
    assert_eq!((&shown["upstream"], &shown["servers"]), (&"other".into(), &1.into()));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_bytes_and_a_plot_that_is_xml() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (seed, name) in [("7", "a.svg"), ("7", "b.svg"), ("8", "c.svg")] {
        let plot = folder.path().join(name);
        let arguments = ["--servers", "5", "--slow", "1:20x", "--requests", "2000", "--seed", seed];
        let outcome = simulate(&[&arguments[..], &["--plot", plot.to_str().unwrap()]].concat()).await;
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let drawn = fs::read_to_string(plot).unwrap();
        let tree = roxmltree::Document::parse(&drawn).unwrap();
        assert_eq!(tree.root_element().tag_name().name(), "svg");
        all.push((outcome.stdout, drawn));
    }
    assert_eq!(all[0], all[1]);
    assert!(all[0].0 != all[2].0 && all[0].1 != all[2].1);
}

#[tokio::test]
async fn an_access_log_gives_the_arrivals_and_what_it_cannot_give_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let line = |second: u32, rest: &str| {
        format!(
            "{{\"time\":\"2026-01-01T00:00:{second:02}.5Z\",\"client\":\"192.0.2.{second}\",\"method\":\"GET\",\"path\":\"/{second}\"{rest}}}\n"
        )
    };
    let mut text: String = (0..40).map(|second| line(second, ",\"upstream\":\"app\"")).collect();
    text += &line(41, ",\"cache\":\"hit\"");
    text += &line(42, ",\"upstream\":\"other\"");
    text += "not a line\n";
    text += "192.0.2.99 - - [01/Jan/2026:00:00:50 +0000] \"GET /x HTTP/1.1\" 200 1 \"-\" \"-\"\n";
    fs::write(&log, text).unwrap();
    let log = log.to_str().unwrap();
    let setup = Lb::setup(&format!("{UPSTREAMS}{ROUTE}"));
    let path = setup.write().display().to_string();
    let outcome = simulate(&["-c", &path, "--log", log, "--json"]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for part in [
        "left out 2 requests",
        "left out 1 lines",
        "line 43: neither JSON nor the combined format",
    ] {
        assert!(outcome.stderr.contains(part), "{part} is not in {}", outcome.stderr);
    }
    let shown: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&shown["requests"], &shown["rate"]), (&41.into(), &Value::Null));
    let seconds = shown["algorithms"][0]["seconds"].as_f64().unwrap();
    assert!(
        (49.5..49.6).contains(&seconds),
        "from 0.5 s to 50 s, and the last answer: {seconds}"
    );
    let shown = json(&["-c", &path, "--log", log, "--requests", "3"]).await;
    assert_eq!(shown["requests"], 3);

    fs::write(log, "\n").unwrap();
    let outcome = simulate(&["--servers", "2", "--log", log]).await;
    assert!(outcome.code == 1 && outcome.stderr.contains("has no request"), "{outcome:?}");
    let outcome = simulate(&["--servers", "2", "--log", "/no/such/file"]).await;
    assert!(
        outcome.code == 1 && outcome.stderr.contains("cannot read /no/such/file"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_says_what_was_expected_and_exits_with_2() {
    for (arguments, said) in [
        (vec!["--algorithm", "fastest"], "expected an algorithm (least_conn, "),
        (vec!["--slow", "9:20x"], "--slow: expected servers between 1 and 2, found 9"),
        (vec!["--slow", "20x"], "such as 1:20x, found \"20x\""),
        (vec!["--latency", "fast"], "expected a latency: 10ms, "),
        (vec!["--workers", "unlimited"], "expected a --rate in requests a second"),
        (vec!["--server", "*:weight=0"], "every server has the weight 0"),
        (vec!["--rate", "fast"], "such as 5000/s"),
        (vec!["--requests", "many"], "invalid value 'many'"),
        (vec!["-c", "/no/such/file"], "/no/such/file"),
    ] {
        let outcome = simulate(&[&["--servers", "2"], &arguments[..]].concat()).await;
        assert!(outcome.code == 2 && outcome.stderr.contains(said), "{arguments:?}: {outcome:?}");
    }
}

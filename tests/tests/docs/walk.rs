//! README's walk, run as it stands: by a shell and `curl`, against the real binaries with `config/lb.toml`. Only ports are others.

use std::collections::BTreeSet;
use std::process::Stdio;

use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::wait::DEADLINE;
use tokio::process::Command;
use tokio::time::timeout;

use super::{blocks, names, read, rows};

/// A command of README's walk, and the lines that its output must have.
struct Step {
    command: String,
    expected: Vec<String>,
}

/// The walk: the first `sh` block below "Try it". A comment right below a command is a line of its output, in which `…` stands for anything;
/// other comments are prose.
fn walk(readme: &str) -> Vec<Step> {
    let section = readme.split("\n## Try it\n").nth(1).expect("a section that is called Try it");
    let block = blocks(section).into_iter().find(|block| block.info == "sh").unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let mut below = false;
    for line in block.text.lines() {
        match line.strip_prefix("# ") {
            Some(expected) if below => steps.last_mut().unwrap().expected.push(expected.into()),
            Some(_) => {}
            None => {
                below = !line.is_empty();
                if below {
                    steps.push(Step {
                        command: line.into(),
                        expected: Vec::new(),
                    });
                }
            }
        }
    }
    steps
}

/// Whether a line is as expected: without regard to case, since header names have none.
fn is_as(line: &str, expected: &str) -> bool {
    let (line, expected) = (line.to_lowercase(), expected.to_lowercase());
    let mut rest = line.as_str();
    for (index, part) in expected.split('…').enumerate() {
        match rest.find(part) {
            Some(at) if index > 0 || at == 0 => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || expected.ends_with('…')
}

#[test]
fn an_expected_line_is_matched_from_its_beginning_to_its_end() {
    assert!(is_as("cache-status: lb; hit; ttl=299", "Cache-Status: lb; hit; ttl=…"));
    assert!(is_as("abc", "…b…") && is_as("abc", "a…c") && is_as("abc", "abc"));
    assert!(!is_as("cache-status: lb; fwd=uri-miss; stored", "Cache-Status: lb; fwd=uri-miss") && !is_as("xabc", "abc"));
}

#[test]
fn the_walk_has_the_commands_that_make_run_prints() {
    let commands: Vec<String> = walk(&read("README.md")).into_iter().map(|step| step.command).collect();
    let script = read("scripts/run.sh").replace("$url", "http://127.0.0.1:8080");
    let printed: Vec<&str> = script.lines().filter_map(|line| Some(&line[line.find("curl -i ")?..])).collect();
    assert!(!printed.is_empty());
    for command in printed {
        assert!(commands.iter().any(|known| known == command), "{command} is not in README.md");
    }
}

#[tokio::test]
async fn the_walk_shows_what_it_says() {
    let mut backends = Backends::start(3).await;
    let mut config = read("config/lb.toml");
    let ports = [("127.0.0.1:8080", "@LISTEN@".to_owned()), ("127.0.0.1:9901", "@ADMIN@".to_owned())].into_iter();
    let servers = ["127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003"].into_iter();
    for (written, now) in ports.chain(servers.zip(backends.addrs().iter().map(ToString::to_string))) {
        assert!(config.contains(&format!("\"{written}\"")), "{written} is not in config/lb.toml");
        config = config.replace(&format!("\"{written}\""), &format!("\"{now}\""));
    }
    let lb = Lb::start(&config).await;
    let (mut requests, mut killed) = (0, false);
    for Step { command, expected } in walk(&read("README.md")) {
        if command == "kill -9 PID" {
            backends.all[0].crash();
            killed = true;
            continue;
        }
        assert!(command.starts_with("curl -i ") && !expected.is_empty(), "{command}");
        let output = shell(&command.replace("127.0.0.1:8080", &lb.listen().to_string())).await;
        requests += 1;
        for line in expected {
            assert!(
                output.lines().any(|found| is_as(found, &line)),
                "{line:?} is not in the output of {command}\n{output}"
            );
        }
    }
    assert!(killed && requests >= 6, "{requests} requests, a backend killed: {killed}");
    lb.wait_for_state("users", backends.all[0].addr(), "unhealthy").await;

    let sections = rows(&read("docs/OPERATIONS.md"));
    let documented: BTreeSet<&str> = sections["JSON"].iter().flat_map(|row| names(&row[0])).collect();
    for line in lb.log_lines(requests).await {
        let unknown = line.as_object().unwrap().keys().find(|key| !documented.contains(key.as_str()));
        assert_eq!(unknown, None, "a key of the access log that is not documented");
    }
}

/// Runs a line as a user's shell does, and gives what it printed.
async fn shell(line: &str) -> String {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).env("no_proxy", "*");
    // Nobody's .curlrc.
    command.envs(["HOME", "CURL_HOME", "XDG_CONFIG_HOME"].map(|name| (name, "/nonexistent")));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(DEADLINE, command.output())
        .await
        .expect("the command ends by itself")
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{line}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

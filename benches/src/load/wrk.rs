//! `wrk`, on kept connections or on a new one each, as fast as answers come.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::Load;
use crate::case::Case;
use crate::machine::LOAD_CORE;

/// Asks for one key after the other. The requests are made before anything is measured, and their number does not change what one costs wrk.
const MANY_KEYS: &str = "
local requests, next = {}, 0
init = function(args)
  for key = 1, KEYS do requests[key] = wrk.format('GET', 'PATH' .. key) end
end
request = function()
  next = next % KEYS + 1
  return requests[next]
end
";

/// Loads the proxy on `port` for `time`, in whole seconds. `dir` takes a script that the load needs.
pub fn run(case: Case, port: u16, connections: usize, time: Duration, dir: &Path) -> anyhow::Result<Load> {
    let mut command = Command::new("taskset");
    command.args(["-c", &LOAD_CORE.to_string(), "wrk", "--latency", "--timeout", "5s", "-t", "1"]);
    command.args(["-c", &connections.to_string(), "-d", &format!("{}s", time.as_secs())]);
    if case == Case::NewConnection {
        command.args(["-H", "Connection: close"]);
    }
    if let Some(keys) = case.keys() {
        let script = dir.join("keys.lua");
        std::fs::write(&script, MANY_KEYS.replace("KEYS", &keys.to_string()).replace("PATH", case.path()))?;
        command.arg("-s").arg(script);
    }
    let scheme = if case.tls() { "https" } else { "http" };
    let output = command
        .arg(format!("{scheme}://127.0.0.1:{port}{}", case.path()))
        .output()
        .context("cannot run taskset and wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed: {}{}", text, String::from_utf8_lossy(&output.stderr));
    }
    parse(&text).with_context(|| format!("wrk said what was not understood:\n{text}"))
}

fn parse(text: &str) -> Option<Load> {
    let after = |label: &str| text.lines().map(str::trim).find_map(|line| line.strip_prefix(label)).map(str::trim);
    let requests = text
        .lines()
        .find(|line| line.contains(" requests in "))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    let mut errors = after("Non-2xx or 3xx responses:")
        .and_then(|count| count.parse::<u64>().ok())
        .unwrap_or(0);
    for part in after("Socket errors:").unwrap_or_default().split(',') {
        errors += part
            .split_whitespace()
            .nth(1)
            .and_then(|count| count.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Some(Load {
        requests,
        rate: after("Requests/sec:")?.parse().ok()?,
        p50_us: micros(after("50%")?)?,
        p99_us: micros(after("99%")?)?,
        steady_p99_us: None,
        errors,
    })
}

/// wrk's times, such as `1.53ms`.
fn micros(text: &str) -> Option<f64> {
    let (number, factor) = match text {
        text if text.ends_with("us") => (text.trim_end_matches("us"), 1.0),
        text if text.ends_with("ms") => (text.trim_end_matches("ms"), 1e3),
        text => (text.trim_end_matches('s'), 1e6),
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 3s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.60ms  305.08us   6.33ms   85.67%
    Req/Sec    40.17k     1.58k   42.01k    80.00%
  Latency Distribution
     50%    1.53ms
     75%    1.66ms
     90%    1.92ms
     99%    2.77ms
  119881 requests in 3.00s, 143.61MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  39948.16
Transfer/sec:     47.85MB
";

    #[test]
    fn what_wrk_prints_is_understood() {
        let load = parse(OUTPUT).unwrap();
        assert_eq!(
            load,
            Load {
                requests: 119_881,
                rate: 39948.16,
                p50_us: 1530.0,
                p99_us: 2770.0,
                steady_p99_us: None,
                errors: 15
            }
        );
    }

    #[test]
    fn without_errors_there_are_none() {
        let text: String = OUTPUT
            .lines()
            .filter(|line| !line.contains("errors") && !line.contains("Non-2xx"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(parse(&text).unwrap().errors, 0);
        assert!(parse("nothing").is_none());
    }
}

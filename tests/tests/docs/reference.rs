//! The tables of keys, metrics, commands and settings: they list all that there is, as it is, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use lb_tests::command;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;
use lb_tests::wait::until;
use serde_json::{Map, Value};

use super::{names, read, rows};

/// The metrics that dashboards are built on.
const METRICS: &[&str] = &[
    "lb_requests_total",
    "lb_request_duration_seconds",
    "lb_upstream_requests_total",
    "lb_upstream_latency_seconds",
    "lb_upstream_active_requests",
    "lb_upstream_concurrency_limit",
    "lb_upstream_healthy",
    "lb_upstream_ejections_total",
    "lb_upstream_panic_total",
    "lb_upstream_concurrency_limit",
    "lb_retries_total",
    "lb_circuit_open",
    "lb_queue_requests",
    "lb_queue_overflows_total",
    "lb_queue_timeouts_total",
    "lb_hedges_total",
    "lb_discovery_failures_total",
    "lb_mirrored_total",
    "lb_cache_requests_total",
    "lb_cache_purges_total",
    "lb_cache_redis_errors_total",
    "lb_cache_redis_requests_total",
    "lb_cache_redis_writes_total",
    "lb_cache_bytes",
    "lb_cache_objects",
    "lb_connections",
    "lb_rate_limited_total",
    "lb_config_reloads_total",
    "lb_access_log_dropped_total",
    "lb_build_info",
];

/// The tables of a configuration file by their paths, with the schemas of their keys and which of those must be there.
fn tables(path: &str, schema: &Value, found: &mut BTreeMap<String, (Map<String, Value>, Vec<Value>)>) {
    for shape in schema["anyOf"].as_array().into_iter().flatten() {
        tables(path, shape, found);
    }
    if schema["type"] == "array" {
        tables(path, &schema["items"], found);
    }
    if let Some(keys) = schema["properties"].as_object() {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (key, value) in keys {
            tables(format!("{path}.{key}").trim_start_matches('.'), value, found);
        }
        found.insert(path.into(), (keys.clone(), required));
    } else if schema["additionalProperties"].is_object() {
        tables(&format!("{path}.NAME"), &schema["additionalProperties"], found);
    }
}

/// What a row must say about the values that a key takes.
fn range(schema: &Value) -> Vec<String> {
    let mut due: Vec<String> = schema["enum"].as_array().into_iter().flatten().map(Value::to_string).collect();
    if schema["type"] == "integer" {
        due.push(format!("{} to {}", schema["minimum"], schema["maximum"]));
    }
    due.extend(
        schema["anyOf"]
            .as_array()
            .into_iter()
            .flatten()
            .chain(schema.get("items"))
            .flat_map(range),
    );
    due
}

#[tokio::test]
async fn every_key_is_documented_with_its_range_and_default_and_no_other() {
    let schema: Value = serde_json::from_str(&command::lb(&["schema"]).await.stdout).unwrap();
    let mut all = BTreeMap::new();
    tables("", &schema, &mut all);
    assert!(all.len() >= 15, "{:?}", all.keys());
    let sections = rows(&read("docs/CONFIGURATION.md"));
    let mut wrong = Vec::new();
    for (path, (keys, required)) in &all {
        let title = match path.as_str() {
            "" => "The top of the file".into(),
            "routes" | "server.tls" => format!("`[[{path}]]`"),
            "upstreams.NAME.servers" => "Entries of `upstreams.NAME.servers`".into(),
            _ => format!("`[{path}]`"),
        };
        let Some((_, rows)) = sections.iter().find(|(heading, _)| heading.contains(&title)) else {
            wrong.push(format!("no section {title}"));
            continue;
        };
        for (key, schema) in keys {
            let Some(row) = rows.iter().find(|row| row[0] == format!("`{key}`")) else {
                wrong.push(format!("{title}: no row for {key}"));
                continue;
            };
            let due = match schema.get("default") {
                Some(default) => format!("`{default}`"),
                None if required.contains(&key.as_str().into()) => "required".into(),
                None => row[2].clone(),
            };
            if row[2].replace(' ', "") != due.replace(' ', "") {
                wrong.push(format!("{title}: the default of {key} is {due}, not {}", row[2]));
            }
            for due in range(schema).iter().filter(|due| !row[1..3].concat().contains(*due)) {
                wrong.push(format!("{title}: {key} takes {due}, which its row does not say"));
            }
        }
        let unknown = rows.iter().filter(|row| !keys.contains_key(row[0].trim_matches('`')));
        wrong.extend(unknown.map(|row| format!("{title}: there is no key {}", row[0])));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_metric_is_documented_with_its_labels_and_is_there() {
    let origin = Origin::start(|_| Reply::text("a").header("Cache-Control", "max-age=60")).await;
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\nadaptive_concurrency = true\n\n[[routes]]\nupstream = \"app\"\ncache = {{}}\nmirror = {{ upstream = \"app\" }}\n",
        servers(&[origin.addr()])
    ))
    .await;
    lb.get("/").await;
    // what is counted last
    until("the request is counted", async || {
        let metrics = lb.metrics().await;
        metrics.has("lb_cache_requests_total") && metrics.has("lb_mirrored_total")
    })
    .await;
    let text = lb.admin_get("/metrics").await.text();
    let there: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    assert_eq!(
        there,
        METRICS.iter().copied().collect(),
        "the metrics that are there, and those that are due"
    );

    let sections = rows(&read("docs/OPERATIONS.md"));
    let rows = &sections["Metrics"];
    let documented: BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(documented, there, "the metrics that are documented, and those that are there");
    let samples = lb.metrics().await;
    for row in rows {
        let name = row[0].trim_matches('`');
        let sample = samples
            .0
            .iter()
            .find(|sample| [name, &format!("{name}_count")].contains(&sample.name.as_str()));
        let labels: BTreeSet<&str> = sample.unwrap().labels.keys().map(String::as_str).collect();
        assert_eq!(names(&row[1]), labels, "the labels of {name}");
    }
}

#[tokio::test]
async fn every_command_and_every_setting_is_documented() {
    let help = command::lb(&["--help"]).await.stdout;
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for name in list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
    {
        for document in ["README.md", "docs/OPERATIONS.md"] {
            assert!(
                read(document).contains(&format!("| `lb {name}")),
                "{document} does not list lb {name}"
            );
        }
    }
    let help = command::run("backend", &["serve", "--help"], &[]).await.stdout;
    let settings = rows(&read("docs/BACKEND.md")).remove("Settings").unwrap();
    let mut seen = 0;
    for (_, rest) in help.match_indices("[env: ").map(|(at, found)| help[at..].split_at(found.len())) {
        let name = rest.split([']', '=']).next().unwrap();
        let default = rest.split("[default: ").nth(1).unwrap().split(']').next().unwrap();
        let row = settings.iter().find(|row| row[0] == format!("`{name}`"));
        let row = row.unwrap_or_else(|| panic!("docs/BACKEND.md does not list {name}"));
        let due = if default == "\"\"" { "none".into() } else { format!("`{default}`") };
        assert_eq!(row[1], due, "the default of {name}");
        seen += 1;
    }
    assert_eq!(
        seen,
        settings.len(),
        "settings that `backend serve --help` lists, and that the document does"
    );
}

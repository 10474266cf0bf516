//! Reads access log lines.

use std::time::Duration;

use serde_json::Value;

use crate::wait::{DEADLINE, until_some};

/// Every line as JSON; fails the test on one that is none. A last line without its line end is still being written and is left out.
pub fn parse(text: &str) -> Vec<Value> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let json = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line:?}"));
    whole.lines().filter(|line| !line.is_empty()).map(json).collect()
}

/// Waits until `read` gives at least `count` lines of JSON.
pub async fn wait_for(count: usize, mut read: impl AsyncFnMut() -> String) -> Vec<Value> {
    wait_within(DEADLINE, count, async || read().await).await
}

async fn wait_within(deadline: Duration, count: usize, mut read: impl AsyncFnMut() -> String) -> Vec<Value> {
    until_some(deadline, &format!("{count} lines in the access log"), async || {
        let lines = parse(&read().await);
        (lines.len() >= count).then_some(lines)
    })
    .await
}

/// Whether any string in a line, at whatever depth, contains this text.
pub fn mentions(line: &Value, text: &str) -> bool {
    match line {
        Value::String(found) => found.contains(text),
        Value::Array(items) => items.iter().any(|item| mentions(item, text)),
        Value::Object(fields) => fields.values().any(|field| mentions(field, text)),
        _ => false,
    }
}

//! What `/metrics` says.

use std::net::SocketAddr;

use super::{Answer, Ask};

const DOCUMENTS: [&str; 2] = [
    include_str!("../../../docs/BACKEND.md"),
    include_str!("../../../docs/OPERATIONS.md"),
];

/// The metrics of a server, all of which must be in the documentation.
pub async fn metrics(server: SocketAddr) -> Answer {
    let answer = Ask::new(server, "GET", "/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let types = answer.text().lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        let is_there = DOCUMENTS.iter().any(|text| text.contains(&format!("`{name}`")));
        assert!(is_there, "{name} is not documented");
    }
    answer
}

/// The value of one of them, named as in its line, with its labels.
pub async fn metric(server: SocketAddr, name: &str) -> u64 {
    let answer = metrics(server).await;
    let line = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("{name} is not in\n{}", answer.text()));
    value.parse().expect("a whole number")
}

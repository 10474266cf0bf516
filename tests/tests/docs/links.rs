//! Links from one document to another.

use std::fs;

use super::{documents, prose, read, root};

/// The anchor that a heading gets where the documents are shown.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_relative_link_leads_somewhere() {
    let (mut broken, mut seen) = (Vec::new(), 0);
    for name in documents() {
        let text = prose(&read(&name));
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            seen += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                root().join(&name)
            } else {
                root().join(&name).parent().unwrap().join(path)
            };
            let has = |text: String| {
                let text = prose(&text);
                text.lines()
                    .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == fragment)
            };
            if !target.exists() || (!fragment.is_empty() && !fs::read_to_string(&target).is_ok_and(has)) {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(seen >= 30, "only {seen} links were found");
}

//! Reads the Prometheus text format, as far as tests need it.

use std::collections::BTreeMap;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All samples of one scrape.
#[derive(Debug, Clone, Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// Parses a scrape; fails the test on a line that is no sample.
    pub fn parse(text: &str) -> Samples {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Samples(
            lines
                .map(|line| sample(line).unwrap_or_else(|| panic!("no Prometheus sample: {line:?}")))
                .collect(),
        )
    }

    /// The samples of that name whose labels have these values.
    pub fn find<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| sample.name == name).filter(move |sample| {
            labels
                .iter()
                .all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        })
    }

    /// Their sum; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map(|sample| sample.value).sum()
    }

    /// The value of the one sample of that name and these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.find(name, labels).next().map(|sample| sample.value)
    }

    /// Whether there is a sample of that name.
    pub fn has(&self, name: &str) -> bool {
        self.find(name, &[]).next().is_some()
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (head, labels, rest) = match line.split_once('{') {
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, BTreeMap::new(), rest)
        }
        Some((name, rest)) => {
            let (labels, rest) = labels(rest)?;
            (name, labels, rest)
        }
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: head.to_owned(),
        labels,
        value,
    })
}

/// Reads labels up to the closing brace.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut found = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((found, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next()? {
                (end, '"') => break end,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        found.insert(name.trim().to_owned(), value);
        rest = &quoted[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_values_and_escapes_are_read() {
        let text = "# HELP a b\n# TYPE a counter\na{x=\"1\",y=\"q\\\"}{\"} 3\na{x=\"2\"} 4 1700000000\nb 1e3\n";
        let samples = Samples::parse(text);
        assert_eq!(samples.sum("a", &[]), 7.0);
        assert_eq!(samples.value("a", &[("y", "q\"}{")]), Some(3.0));
        assert_eq!(samples.value("b", &[]), Some(1000.0));
        assert!(!samples.has("c"));
    }
}

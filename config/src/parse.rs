//! Text to tree, with every syntax error on the way.
//!
//! The `toml` crate reads on after an error, which serves here up to a point: what it makes of the rest of a list that nobody closed is
//! noise. So an error inside a value only marks that value as [`Value::Broken`]; any other one blanks what it has spoilt (its line; below a
//! header or in a list without an end, everything up to the next header), and the text is read again. What is left at last is free of
//! syntax errors, so that the other checks see all of it and report nothing that is only a consequence.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::layout::{innermost, is_header};
use crate::problem::Report;
use crate::source::Place;
use crate::syntax::{self, Fault};
use crate::tree::{Entry, Node, Table, Value};

/// What a file says.
pub(crate) struct Parsed {
    /// All that could be read.
    pub(crate) table: Table,
    /// Syntax errors.
    pub(crate) reports: Vec<Report>,
    /// What is missing from the table because of them.
    pub(crate) lost: Lost,
}

/// What errors have cost. What is missing from a configuration may then only have been lost, and is not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lost {
    /// At most values, whose keys are still there.
    Nothing,
    /// Some keys of some tables.
    Keys,
    /// Whole tables.
    Tables,
}

/// More syntax errors than this in one file are not worth reading.
const MOST_FAULTS: usize = 20;

/// Reads the text of the file with this index.
pub(crate) fn parse(file: usize, text: &str) -> Parsed {
    let mut text = text.to_owned();
    let mut reports = Vec::new();
    let mut lost = Lost::Nothing;
    loop {
        let (tree, errors) = DeTable::parse_recoverable(&text);
        let faults = syntax::faults(&text, tree.get_ref(), &errors);
        match faults.iter().find_map(|fault| Some((fault, fault.spoils.clone()?))) {
            Some((fault, spoilt)) if reports.len() < MOST_FAULTS => {
                reports.push(fault.report(file, &text));
                lost = lost.max(if text[spoilt.clone()].lines().any(is_header) {
                    Lost::Tables
                } else {
                    Lost::Keys
                });
                blank(&mut text, spoilt);
            }
            _ => {
                reports.extend(faults.iter().map(|fault| fault.report(file, &text)));
                return Parsed {
                    table: table(file, &text, &tree, &faults),
                    reports,
                    lost,
                };
            }
        }
    }
}

fn table(file: usize, text: &str, tree: &Spanned<DeTable<'_>>, faults: &[Fault]) -> Table {
    let broken = faults.iter().filter(|fault| !fault.is_duplicate()).map(|fault| fault.at).collect();
    Converter { file, text, broken }.table(tree.get_ref(), "", true)
}

/// Replaces everything but line ends by spaces, so that all else keeps its place.
fn blank(text: &mut String, range: Range<usize>) {
    let blanked: String = text[range.clone()]
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect();
    text.replace_range(range, &blanked);
}

/// Makes the crate's own tree of the parser's.
struct Converter<'a> {
    file: usize,
    text: &'a str,
    broken: Vec<usize>,
}

impl Converter<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        Place {
            file: self.file,
            start: span.start,
            end: span.end,
        }
    }

    fn table(&self, table: &DeTable<'_>, path: &str, explicit: bool) -> Table {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| {
                let path = if path.is_empty() {
                    key.get_ref().to_string()
                } else {
                    format!("{path}.{}", key.get_ref())
                };
                Entry {
                    key: key.get_ref().to_string(),
                    key_at: self.place(key.span()),
                    node: self.node(value, path),
                }
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_at.start);
        Table { explicit, entries }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>, path: String) -> Node {
        let span = value.span();
        let converted = match value.get_ref() {
            _ if self.is_broken(value) => Value::Broken,
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => Value::Integer(integer(number)),
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(list) => Value::Array(list.iter().map(|entry| self.node(entry, path.clone())).collect()),
            DeValue::Table(table) => {
                let explicit = self.text[span.start..].starts_with(['[', '{']);
                Value::Table(self.table(table, &path, explicit))
            }
        };
        Node {
            at: self.place(span),
            path,
            value: converted,
        }
    }

    /// Whether there is an error in this value that is in none of the values inside it.
    fn is_broken(&self, value: &Spanned<DeValue<'_>>) -> bool {
        self.broken
            .iter()
            .any(|&at| innermost(self.text, value, at).is_some_and(|inner| std::ptr::eq(inner, value)))
    }
}

fn integer(number: &DeInteger<'_>) -> i128 {
    let digits = number.as_str();
    let limit = if digits.starts_with('-') { i128::MIN } else { i128::MAX };
    i128::from_str_radix(digits, number.radix()).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> (Vec<String>, usize) {
        let parsed = parse(0, text);
        (
            parsed.table.entries.into_iter().map(|entry| entry.key).collect(),
            parsed.reports.len(),
        )
    }

    #[test]
    fn after_a_syntax_error_the_rest_is_still_read() {
        assert_eq!(keys("a: 3\nb = 1\n[c]\nd = 1"), (vec!["b".into(), "c".into()], 1));
        assert_eq!(keys("a = [\"x\",\nb = 1\n[c]\nd = 1"), (vec!["c".into()], 1));
        assert_eq!(keys("[a\nb = 1\n[c]\nd = 1"), (vec!["c".into()], 1));
        assert_eq!(
            keys("a = least\nb = 01\nc = \"\\d\"\n= 3"),
            (vec!["a".into(), "b".into(), "c".into()], 4)
        );
    }

    #[test]
    fn a_value_with_an_error_in_it_is_broken_and_its_neighbours_are_not() {
        let parsed = parse(0, "a = [1, two, 3]\nb = [\"x\" \"y\"]\nc = { x = 1, y = }\n");
        let kinds = |key: &str| match &parsed.table.get(key).unwrap().value {
            Value::Array(list) => list.iter().map(Node::kind).collect(),
            Value::Table(table) => table.entries.iter().map(|entry| entry.node.kind()).collect(),
            _ => vec![],
        };
        assert_eq!(kinds("a"), ["a number", "broken", "a number"]);
        assert_eq!(kinds("b"), ["a string", "broken"]);
        assert_eq!(kinds("c"), ["a number", "broken"]);
        assert_eq!(parsed.reports.len(), 3);
        assert_eq!(parsed.lost, Lost::Nothing);
    }

    #[test]
    fn a_table_given_twice_is_reported_once_and_both_are_read() {
        let parsed = parse(0, "[a]\nx = 1\n[b]\n[a]\nx = 2\ny = 2\n");
        assert_eq!(parsed.reports.len(), 1);
        let Value::Table(table) = &parsed.table.get("a").unwrap().value else {
            panic!()
        };
        assert_eq!(table.entries.len(), 2);
    }

    #[test]
    fn numbers_beyond_all_bounds_are_as_large_as_can_be() {
        let huge = "9".repeat(60);
        let parsed = parse(0, &format!("a = {huge}\nb = -{huge}\nc = 0x1F\n"));
        let value = |key: &str| match parsed.table.get(key).unwrap().value {
            Value::Integer(number) => number,
            _ => 0,
        };
        assert_eq!((value("a"), value("b"), value("c")), (i128::MAX, i128::MIN, 31));
    }
}

//! Readers of single values: strings, numbers, durations, lists.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::fields::Check;
use crate::interpolate::is_reference;
use crate::problem::{Report, any_of, quote};
use crate::raw::Choice;
use crate::source::Place;
use crate::suggest::nearest;
use crate::tree::{Entry, Node, Value};
use crate::units::{self, UnitError};

/// A string; it may be empty.
pub(crate) fn text(cx: &Check<'_>, node: &Node) -> Option<String> {
    match &node.value {
        Value::String(text) => cx.expand(node, text).map(|text| text.into_owned()),
        _ => {
            cx.wrong_kind(node, "a string");
            None
        }
    }
}

/// A string with something in it.
pub(crate) fn filled(cx: &Check<'_>, node: &Node) -> Option<String> {
    let text = text(cx, node)?;
    if text.trim().is_empty() {
        cx.report(Report::at(node.at, format!("`{}` is empty", node.name())).found(quote(&text)));
        return None;
    }
    Some(text)
}

/// A path of a file; a relative one starts at the folder of the file that it stands in.
pub(crate) fn file(cx: &Check<'_>, node: &Node) -> Option<PathBuf> {
    filled(cx, node).map(|path| cx.source(node.at).folder().join(path))
}

/// `true` or `false`.
pub(crate) fn boolean(cx: &Check<'_>, node: &Node) -> Option<bool> {
    match &node.value {
        Value::Boolean(flag) => Some(*flag),
        Value::String(text) if is_reference(text) => {
            let value = cx.expand(node, text)?;
            value
                .parse()
                .map_err(|_| cx.report(bad(node, "value", &value).expected("true or false")))
                .ok()
        }
        _ => {
            cx.wrong_kind(node, "true or false");
            None
        }
    }
}

/// A whole number.
pub(crate) fn integer(cx: &Check<'_>, node: &Node, range: RangeInclusive<u64>) -> Option<u64> {
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    let number = match &node.value {
        Value::Integer(number) => *number,
        Value::String(text) if is_reference(text) => {
            let value = cx.expand(node, text)?;
            value
                .parse()
                .map_err(|_| cx.report(bad(node, "number", &value).expected(&expected)))
                .ok()?
        }
        _ => {
            cx.wrong_kind(node, &expected);
            return None;
        }
    };
    let fitting = u64::try_from(number).ok().filter(|number| range.contains(number));
    if fitting.is_none() {
        let found = if number.unsigned_abs() < u128::from(u64::MAX) {
            number.to_string()
        } else {
            "so large".into()
        };
        cx.report(
            Report::at(node.at, format!("`{}` cannot be {found}", node.name()))
                .expected(expected)
                .found(found),
        );
    }
    fitting
}

/// A number from 0 to 100, which may have a fraction.
pub(crate) fn percent(cx: &Check<'_>, node: &Node) -> Option<f64> {
    let expected = "a number from 0 to 100";
    let number = match &node.value {
        Value::Integer(number) => *number as f64,
        Value::Float(number) => *number,
        Value::String(text) if is_reference(text) => {
            let value = cx.expand(node, text)?;
            value
                .parse()
                .map_err(|_| cx.report(bad(node, "number", &value).expected(expected)))
                .ok()?
        }
        _ => {
            cx.wrong_kind(node, expected);
            return None;
        }
    };
    let fitting = (0.0..=100.0).contains(&number);
    if !fitting {
        let report = Report::at(node.at, format!("`{}` cannot be {number}", node.name()));
        cx.report(report.expected(expected).found(number.to_string()));
    }
    fitting.then_some(number)
}

/// A duration, 0 included.
pub(crate) fn duration(cx: &Check<'_>, node: &Node) -> Option<Duration> {
    with_unit(
        cx,
        node,
        "duration",
        r#"a duration such as "250ms", "2s", "5m" or "1h""#,
        "s",
        units::duration,
    )
}

/// A duration above 0.
pub(crate) fn timeout(cx: &Check<'_>, node: &Node) -> Option<Duration> {
    let duration = duration(cx, node)?;
    if duration.is_zero() {
        cx.report(
            Report::at(node.at, format!("`{}` cannot be 0", node.name()))
                .expected("a duration above 0")
                .found("0"),
        );
        return None;
    }
    Some(duration)
}

/// A size in bytes, 0 included.
pub(crate) fn size(cx: &Check<'_>, node: &Node) -> Option<u64> {
    with_unit(cx, node, "size", r#"a size such as "64KiB", "10MB" or "1GiB""#, "B", units::size)
}

/// A size above 0.
pub(crate) fn size_above_0(cx: &Check<'_>, node: &Node) -> Option<u64> {
    let size = size(cx, node)?;
    if size == 0 {
        cx.report(
            Report::at(node.at, format!("`{}` cannot be 0", node.name()))
                .expected("a size above 0")
                .found("0"),
        );
        return None;
    }
    Some(size)
}

fn with_unit<T>(cx: &Check<'_>, node: &Node, what: &str, expected: &str, unit: &str, parse: fn(&str) -> Result<T, UnitError>) -> Option<T> {
    if let Value::Integer(number) = node.value {
        let report = Report::at(node.at, format!("`{}` cannot be a number without a unit", node.name())).expected(expected);
        cx.report(report.found(number.to_string()).help(format!("write \"{number}{unit}\"")));
        return None;
    }
    let Value::String(_) = node.value else {
        cx.wrong_kind(node, expected);
        return None;
    };
    let text = text(cx, node)?;
    parse(&text)
        .map_err(|error| cx.report(bad(node, what, &text).expected(expected).help(error.to_string())))
        .ok()
}

/// One of some words.
pub(crate) fn one_of<T>(cx: &Check<'_>, node: &Node, choice: &Choice, value: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let Choice { what, names, later } = choice;
    if !matches!(node.value, Value::String(_)) {
        cx.wrong_kind(node, &format!("a string: {}", any_of(names)));
        return None;
    }
    let text = text(cx, node)?;
    let chosen = names.contains(&text.as_str()).then(|| value(&text)).flatten();
    if chosen.is_none() {
        cx.report(if later.contains(&text.as_str()) {
            Report::at(node.at, format!("{what} {} is not supported by this version of lb", quote(&text)))
                .expected(any_of(names))
                .found(text)
        } else {
            let near = nearest(&text, names.iter().copied());
            Report::at(node.at, format!("unknown {what} {}", quote(&text)))
                .expected(any_of(names))
                .found(&text)
                .did_you_mean(near)
        });
    }
    chosen
}

/// `"off"`, which is `Some(None)`, or a table.
pub(crate) fn off_or_table<T>(cx: &Check<'_>, node: &Node, table: impl FnOnce(&Check<'_>, &Node) -> Option<T>) -> Option<Option<T>> {
    match &node.value {
        Value::Table(_) => table(cx, node).map(Some),
        Value::String(_) => {
            let text = text(cx, node)?;
            if text == "off" {
                return Some(None);
            }
            let report = Report::at(node.at, format!("unknown {} {}", node.name(), quote(&text))).expected("\"off\" or a table");
            cx.report(report.found(&text).did_you_mean(nearest(&text, ["off"])));
            None
        }
        _ => {
            cx.wrong_kind(node, "\"off\" or a table");
            None
        }
    }
}

/// A list. `None` if one of its entries is wrong.
pub(crate) fn list<T>(cx: &Check<'_>, node: &Node, entry: impl FnMut(&Check<'_>, &Node) -> Option<T>) -> Option<Vec<T>> {
    each(cx, node, entry)?.into_iter().collect()
}

/// A list with something in it. `None` if one of its entries is wrong.
pub(crate) fn filled_list<T>(cx: &Check<'_>, node: &Node, entry: impl FnMut(&Check<'_>, &Node) -> Option<T>) -> Option<Vec<T>> {
    filled_each(cx, node, entry)?.into_iter().collect()
}

/// A list, entry by entry, for those that compare the right ones with each other although another is wrong.
pub(crate) fn each<T>(cx: &Check<'_>, node: &Node, mut entry: impl FnMut(&Check<'_>, &Node) -> Option<T>) -> Option<Vec<Option<T>>> {
    let Value::Array(nodes) = &node.value else {
        cx.wrong_kind(node, "a list");
        return None;
    };
    Some(nodes.iter().map(|node| entry(cx, node)).collect())
}

/// As [`each`], of a list with something in it.
pub(crate) fn filled_each<T>(cx: &Check<'_>, node: &Node, entry: impl FnMut(&Check<'_>, &Node) -> Option<T>) -> Option<Vec<Option<T>>> {
    if matches!(&node.value, Value::Array(nodes) if nodes.is_empty()) {
        cx.report(
            Report::at(node.at, format!("`{}` is empty", node.name()))
                .expected("at least one entry")
                .found("[]"),
        );
        return None;
    }
    each(cx, node, entry)
}

/// A table of values by names that the file chooses.
pub(crate) fn map<T>(cx: &Check<'_>, node: &Node, mut entry: impl FnMut(&Check<'_>, &Entry) -> Option<T>) -> Option<Vec<T>> {
    let Value::Table(table) = &node.value else {
        cx.wrong_kind(node, "a table");
        return None;
    };
    let entries: Vec<Option<T>> = table.entries.iter().map(|field| entry(cx, field)).collect();
    entries.into_iter().collect()
}

/// An IP address or a network.
pub(crate) fn network(cx: &Check<'_>, node: &Node) -> Option<IpNet> {
    let text = text(cx, node)?;
    let network = text
        .parse()
        .ok()
        .or_else(|| text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address)));
    if network.is_none() {
        cx.report(bad(node, "network", &text).expected(r#"an IP address or a network such as "10.0.0.0/8" or "fd00::/8""#));
    }
    network.map(|network| network.trunc())
}

/// The name of a header field, which stands at this place.
pub(crate) fn header_name(cx: &Check<'_>, at: Place, name: &str) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    if parsed.is_none() {
        cx.report(
            Report::at(at, format!("bad header name {}", quote(name)))
                .expected("letters, digits and -")
                .found(name),
        );
    }
    parsed
}

/// The value of a header field.
pub(crate) fn header_value(cx: &Check<'_>, node: &Node) -> Option<HeaderValue> {
    let text = text(cx, node)?;
    let parsed = HeaderValue::from_str(&text).ok();
    if parsed.is_none() {
        cx.report(bad(node, "header value", &text).expected("visible ASCII characters and spaces"));
    }
    parsed
}

/// A problem with what a string says. What came from the environment is shown with where it came from.
pub(crate) fn bad(node: &Node, what: &str, text: &str) -> Report {
    let origin = match &node.value {
        Value::String(written) if written != text && written.contains("${") => format!(", from {}", quote(written)),
        _ => String::new(),
    };
    Report::at(node.at, format!("bad {what} {}{origin}", quote(text))).found(text)
}

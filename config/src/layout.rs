//! Lines, headers and values of a TOML text: what a byte belongs to.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

type SpannedValue<'i> = Spanned<DeValue<'i>>;

/// The line that holds a byte, without its end.
pub(crate) fn line_around(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    start..end
}

/// Whether a line is a table's header, and not the inside of a list.
pub(crate) fn is_header(line: &str) -> bool {
    let line = line.trim_start();
    let name = line.trim_start_matches('[').trim_start();
    line.starts_with('[') && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Where the first header below a byte's line starts; the end of the text without one.
pub(crate) fn next_header(text: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(newline) = text[at..].find('\n') {
        at += newline + 1;
        if is_header(&text[line_around(text, at)]) {
            return at;
        }
    }
    text.len()
}

/// Whether a value stands at one place, `key = value`, and is not made of what stands below headers or dotted keys.
fn is_in_one_place(text: &str, value: &SpannedValue<'_>) -> bool {
    match value.get_ref() {
        DeValue::Table(_) => text[value.span().start..].starts_with('{'),
        DeValue::Array(list) => !list
            .first()
            .is_some_and(|first| first.get_ref().is_table() && !is_in_one_place(text, first)),
        _ => true,
    }
}

fn holds(text: &str, value: &SpannedValue<'_>, at: usize) -> bool {
    is_in_one_place(text, value) && value.span().start <= at && at <= value.span().end
}

/// The values right below this one.
fn children<'a, 'i>(value: &'a SpannedValue<'i>) -> Box<dyn Iterator<Item = &'a SpannedValue<'i>> + 'a> {
    match value.get_ref() {
        DeValue::Array(list) => Box::new(list.iter()),
        DeValue::Table(table) => Box::new(table.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// The smallest value that holds this byte.
pub(crate) fn innermost<'a, 'i>(text: &str, value: &'a SpannedValue<'i>, at: usize) -> Option<&'a SpannedValue<'i>> {
    children(value)
        .find_map(|child| innermost(text, child, at))
        .or_else(|| holds(text, value, at).then_some(value))
}

/// The largest value that holds this byte.
pub(crate) fn outermost<'a, 'i>(text: &str, value: &'a SpannedValue<'i>, at: usize) -> Option<&'a SpannedValue<'i>> {
    if holds(text, value, at) {
        Some(value)
    } else {
        children(value).find_map(|child| outermost(text, child, at))
    }
}

/// The line, from 1, in which the key or header at this byte was given before. Only what stands above it is read, where it is there once.
pub(crate) fn given_before(text: &str, at: usize) -> Option<usize> {
    let line = line_around(text, at);
    let (above, _) = DeTable::parse_recoverable(&text[..at]);
    let first = if is_header(&text[line.clone()]) {
        let (header, _) = DeTable::parse_recoverable(&text[line.clone()]);
        let (above, _) = DeTable::parse_recoverable(&text[..line.start]);
        find(above.get_ref(), header.get_ref())
    } else {
        let key = text[at..].split(['=', '.', ' ', '\t', '\n']).next()?.trim_matches(['"', '\'']);
        let table = open_table(&text[..at], above.get_ref()).map_or(above.get_ref(), |(_, table)| table);
        table.get_key_value(key).map(|(found, _)| found.span().start)
    };
    first.map(|start| text[..start].matches('\n').count() + 1)
}

/// The place in `table` of the key that the only keys of `path` lead to.
fn find(table: &DeTable<'_>, path: &DeTable<'_>) -> Option<usize> {
    let (key, below) = path.iter().next()?;
    let (found, value) = table.get_key_value(key.get_ref().as_ref())?;
    match (last_entry(below).get_ref().as_table(), last_entry(value).get_ref().as_table()) {
        (Some(deeper), Some(table)) if !deeper.is_empty() => find(table, deeper),
        _ => Some(found.span().start),
    }
}

/// The entry of a list that a header below it is about: the last one. Any other value as it is.
fn last_entry<'a, 'i>(value: &'a SpannedValue<'i>) -> &'a SpannedValue<'i> {
    match value.get_ref() {
        DeValue::Array(list) => list.last().map_or(value, last_entry),
        _ => value,
    }
}

/// The table that the end of this text is in, and where it starts: the last inline table that is still open, else that of the last header.
/// Tables that are only named by what is below them are in no place of their own.
fn open_table<'a, 'i>(text: &str, table: &'a DeTable<'i>) -> Option<(usize, &'a DeTable<'i>)> {
    let below = table.values().map(last_entry).filter_map(|value| {
        let (start, table) = (value.span().start, value.get_ref().as_table()?);
        let inline = text[start..].starts_with('{');
        let own = (inline || text[start..].starts_with('[')).then_some((start, table));
        if inline && text[value.span()].ends_with('}') {
            None
        } else {
            own.into_iter().chain(open_table(text, table)).max_by_key(|(start, _)| *start)
        }
    });
    below.max_by_key(|(start, _)| *start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line in which the last key or header of this text, which is `name`, was given before.
    fn before(text: &str, name: &str) -> Option<usize> {
        given_before(text, text.rfind(name).unwrap())
    }

    #[test]
    fn what_is_given_twice_is_found_where_it_was_given_first() {
        assert_eq!(before("[a]\nx = 1\n[b]\nx = 1\n[a]\n", "a"), Some(1));
        assert_eq!(before("[u.a]\n[u.b]\n[u.a]\n", "a"), Some(1));
        assert_eq!(before("x = 0\n[a]\nx = 1\nh = { x = 2 }\nx = 3\n", "x"), Some(3));
        assert_eq!(before("x = 0\nh = { x = 2,\n x = 3 }\n", "x"), Some(2));
        assert_eq!(before("[[r]]\nx = 1\n[[r]]\nx = 1\ny = [{ x = 1 }]\nx = 3\n", "x"), Some(4));
        assert_eq!(before("[[r]]\n[r.c]\n[[r]]\n[r.c]\n[r.c]\n", "c"), Some(4));
        assert_eq!(before("[a]\n\"x y\" = 1\n'x y' = 2\n", "'x y'"), None);
    }

    #[test]
    fn a_header_is_not_the_inside_of_a_list() {
        assert!(is_header("  [a.b]") && is_header("[[routes]]") && is_header("[ server ]") && is_header("[server"));
        assert!(!is_header("[\"a\", \"b\"],") && !is_header("a = [b]") && !is_header("[]"));
    }
}

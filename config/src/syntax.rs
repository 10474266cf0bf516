//! Syntax errors in the words of this file's users, and what each of them spoils.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, Error};

use crate::layout::{given_before, innermost, is_header, line_around, next_header, outermost};
use crate::problem::{Report, quote};
use crate::source::Place;

/// A syntax error.
pub(crate) struct Fault {
    /// The byte that it is at.
    pub(crate) at: usize,
    /// What cannot be used because of it, where that is more than one value.
    pub(crate) spoils: Option<Range<usize>>,
    kind: Kind,
}

enum Kind {
    /// A key or table that was given before, in this line. It spoils nothing.
    Twice { span: Range<usize>, before: Option<usize> },
    /// A list, table or long string that starts here and never ends.
    Unclosed(usize),
    /// A string that does not end in its line.
    OpenString(Range<usize>),
    /// A value that is neither in quotes nor anything else.
    Bare(Range<usize>),
    /// A `\` with something after it that has no meaning, in this string.
    Escape { span: Range<usize>, string: Range<usize> },
    /// Whatever else the parser says.
    Other { span: Range<usize>, message: String },
}

/// The parser's errors, the leftmost of each line, in the order of the file.
pub(crate) fn faults(text: &str, tree: &DeTable<'_>, errors: &[Error]) -> Vec<Fault> {
    let mut errors: Vec<(Range<usize>, &str)> = errors.iter().filter_map(|error| Some((error.span()?, error.message()))).collect();
    errors.sort_by_key(|(span, _)| span.start);
    let unclosed = errors.iter().find_map(|(span, message)| unclosed(text, tree, span.start, message));
    let mut faults: Vec<Fault> = Vec::new();
    for (span, message) in errors {
        if faults.last().is_some_and(|last| last.hides(text, span.start, message)) {
            continue;
        }
        let fault = Fault::new(text, tree, span, message);
        match &unclosed {
            // What stands below the start of what is not closed is read as a part of it: only the start is to blame.
            Some(value) if fault.at >= value.start => {
                faults.push(Fault::unclosed(text, value, fault));
                break;
            }
            _ => faults.push(fault),
        }
    }
    faults
}

/// The outermost value that has no end, if that is what this error is about.
fn unclosed(text: &str, tree: &DeTable<'_>, at: usize, message: &str) -> Option<Range<usize>> {
    let about_it = message.starts_with("unclosed array,") || message.starts_with("unclosed inline") || message.contains("multi-line");
    let value = about_it
        .then(|| tree.values().find_map(|value| outermost(text, value, at)))??
        .span();
    text[value.clone()].contains('\n').then_some(value)
}

impl Fault {
    fn new(text: &str, tree: &DeTable<'_>, span: Range<usize>, message: &str) -> Self {
        let at = span.start;
        let line = line_around(text, at);
        let value = tree.values().find_map(|value| innermost(text, value, at)).map(Spanned::span);
        let spoils = match &value {
            _ if message == DUPLICATE => None,
            Some(_) => None,
            None if text[line.clone()].trim_start().starts_with('[') => Some(line.start..next_header(text, line.end)),
            None => Some(line),
        };
        let kind = match value {
            _ if message == DUPLICATE => Kind::Twice {
                before: given_before(text, at),
                span,
            },
            Some(value) if is_open_string(&text[value.clone()], message) => Kind::OpenString(value),
            Some(string) if text[string.clone()].starts_with('"') => match escape_before(text, &string, at) {
                Some(span) => Kind::Escape { span, string },
                None => Kind::Other {
                    span,
                    message: message.to_owned(),
                },
            },
            Some(value) if value.is_empty() || (is_bare(&text[value.clone()]) && is_about_a_scalar(message)) => Kind::Bare(value),
            _ => Kind::Other {
                span,
                message: message.to_owned(),
            },
        };
        Self { at, spoils, kind }
    }

    /// A value without an end. If a string in it has none either, that is the reason, and it is reported instead.
    fn unclosed(text: &str, value: &Range<usize>, first: Fault) -> Self {
        let line = line_around(text, value.start);
        let spoils = Some(line.start..next_header(text, line.end));
        match first.kind {
            Kind::OpenString(_) => Self { spoils, ..first },
            _ => Self {
                at: value.start,
                spoils,
                kind: Kind::Unclosed(value.start),
            },
        }
    }

    /// Whether this is a key or table given twice, and the value that belongs to it is fine.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self.kind, Kind::Twice { .. })
    }

    /// Whether another error is only a consequence of this one: in the same line, or a key of a table given twice that both have.
    fn hides(&self, text: &str, at: usize, message: &str) -> bool {
        let line = line_around(text, self.at);
        line.contains(&at)
            || line.end == at
            || (self.is_duplicate() && message == DUPLICATE && is_header(&text[line]) && next_header(text, self.at) > at)
    }

    /// The error as it is shown.
    pub(crate) fn report(&self, file: usize, text: &str) -> Report {
        let place = |span: &Range<usize>| Place {
            file,
            start: span.start,
            end: span.end,
        };
        match &self.kind {
            Kind::Twice { span, before } => {
                let line = text[line_around(text, span.start)].trim();
                let what = if is_header(line) { line } else { &text[span.clone()] };
                let help = before.map(|line| format!("it was given in line {line} already"));
                Report::at(place(span), format!("`{what}` is given twice")).maybe_help(help)
            }
            Kind::Unclosed(start) => {
                let (what, end) = match text[*start..].chars().next() {
                    Some('[') => ("list", "`]` at its end"),
                    Some('{') => ("table", "`}` at its end"),
                    _ => ("string", "three quotes at its end"),
                };
                Report::at(place(&(*start..start + 1)), format!("the {what} that starts here has no end")).expected(end)
            }
            Kind::OpenString(span) => {
                let quote = &text[span.start..span.start + 1];
                Report::at(place(span), "the string that starts here has no end")
                    .expected(format!("`{quote}` at its end, in the same line"))
            }
            Kind::Bare(span) => bare(place(span), &text[span.clone()]),
            Kind::Escape { span, string } => escape(place(span), &text[span.clone()], &text[string.clone()]),
            Kind::Other { span, message } => other(place(span), message),
        }
    }
}

/// What the parser says of a key or table that was given before.
const DUPLICATE: &str = "duplicate key";

/// Whether an error is about how a value is written, and not about what stands around it.
fn is_about_a_scalar(message: &str) -> bool {
    const AROUND: &[&str] = &[
        "missing ",
        "extra ",
        "unclosed ",
        "unexpected key",
        "unexpected content",
        "unexpected `",
        "invalid inline",
        "invalid key",
        "cannot ",
    ];
    !AROUND.iter().any(|start| message.starts_with(start))
}

fn is_bare(text: &str) -> bool {
    !text.starts_with(['"', '\'', '[', '{'])
}

fn is_open_string(text: &str, message: &str) -> bool {
    let quote = if message.starts_with("invalid basic string, expected `\"`") {
        '"'
    } else {
        '\''
    };
    let about_it = quote == '"' || message.starts_with("invalid literal string, expected `'`");
    about_it && text.starts_with(quote)
}

/// The escape in this string that an error at this byte is about.
fn escape_before(text: &str, string: &Range<usize>, at: usize) -> Option<Range<usize>> {
    let start = string.start + text[string.start..at].rfind('\\')?;
    let end = at
        + text[at..]
            .chars()
            .next()
            .filter(|c| !c.is_whitespace() && *c != '"')
            .map_or(0, char::len_utf8);
    Some(start..end)
}

/// A value without quotes, or none.
fn bare(place: Place, text: &str) -> Report {
    let expected = "a string in quotes, a number, true, false, a list or a table";
    if text.is_empty() {
        return Report::at(place, "no value").expected(expected);
    }
    let help = match text.to_lowercase().as_str() {
        lower @ ("true" | "false") => format!("write {lower}"),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => format!("write {}, without a 0 before it", digits.trim_start_matches('0')),
        _ => format!("write {}", quote(text)),
    };
    Report::at(place, format!("`{}` is not a value", quote(text).trim_matches('"')))
        .expected(expected)
        .found(text)
        .help(help)
}

/// A bad escape in a string, for which a regular expression is the usual reason.
fn escape(place: Place, escape: &str, string: &str) -> Report {
    let inside = string.trim_matches('"');
    let report = Report::at(place, format!("`{escape}` means nothing in a string in double quotes")).found(escape);
    match inside.starts_with('~') {
        true if inside.contains(['\'', '\n']) => report.help("write a regex in single quotes, where `\\` is nothing special"),
        true => report.help(format!("use single quotes for a regex: '{inside}'")),
        false => report.help("write `\\\\` for a `\\`, or use single quotes"),
    }
}

/// An error in the parser's words.
fn other(place: Place, message: &str) -> Report {
    match message.split_once(", expected ") {
        None | Some((_, "nothing")) => Report::at(place, message),
        Some((message, expected)) => Report::at(place, message).expected(expected),
    }
}

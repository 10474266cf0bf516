//! What is wrong with a configuration: where, what was found, what was expected, and what may have been meant.
//!
//! Problems are collected and never thrown one by one, so that one run of `lb check` shows them all.

use std::fmt;

use serde::Serialize;

use crate::source::{Place, Source};

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; `None` when the file could not be read.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What could stand there instead.
    pub expected: Option<String>,
    /// What stands there.
    pub found: Option<String>,
    /// What may have been meant, or what to do.
    pub help: Option<String>,
    /// The line itself, and the width of what is wrong in it.
    #[serde(skip)]
    excerpt: Option<(String, usize)>,
}

/// Every problem of a configuration; at least one. Its `Display` is what `lb check` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Problems in the order of their files, lines and columns.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// Problems that were found after the files were read; `None` if there are none.
    pub fn of(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort_by(|one, other| (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column)));
        (!problems.is_empty()).then_some(Self(problems))
    }

    pub(crate) fn new(mut reports: Vec<Report>, sources: &[Source]) -> Self {
        reports.sort_by_key(|report| (report.file, report.span));
        reports.dedup();
        Self(reports.into_iter().map(|report| report.resolve(sources)).collect())
    }
}

impl Problem {
    /// Another one at the same place.
    pub(crate) fn saying(&self, message: String, help: Option<String>) -> Self {
        Self {
            message,
            help,
            ..self.clone()
        }
    }

    /// A problem that stands nowhere.
    pub(crate) fn without_place(message: String, help: Option<String>) -> Self {
        Report::of_file(usize::MAX, message).maybe_help(help).resolve(&[])
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 error"),
            n => write!(f, "{n} errors"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": error: {}", self.message)?;
        if let (Some(line), Some(column), Some((text, width))) = (self.line, self.column, &self.excerpt) {
            let number = line.to_string();
            // Tabs stay tabs, so that the caret stands below its character whatever their width.
            let indent: String = text.chars().take(column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
            write!(
                f,
                "\n  {number} | {text}\n  {:1$} | {indent}{2}",
                "",
                number.len(),
                "^".repeat(*width)
            )?;
        }
        match (&self.expected, &self.help) {
            (Some(expected), Some(help)) => write!(f, "\n  expected {expected}; {help}"),
            (Some(expected), None) => write!(f, "\n  expected {expected}"),
            (None, Some(help)) => write!(f, "\n  {help}"),
            (None, None) => Ok(()),
        }
    }
}

/// A problem as the checks note it down, before its place is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    file: usize,
    span: Option<(usize, usize)>,
    message: String,
    expected: Option<String>,
    found: Option<String>,
    help: Option<String>,
}

impl Report {
    pub(crate) fn at(place: Place, message: impl Into<String>) -> Self {
        Self {
            span: Some((place.start, place.end)),
            ..Self::of_file(place.file, message)
        }
    }

    /// A problem with a file as such.
    pub(crate) fn of_file(file: usize, message: impl Into<String>) -> Self {
        Self {
            file,
            span: None,
            message: message.into(),
            expected: None,
            found: None,
            help: None,
        }
    }

    pub(crate) fn expected(self, expected: impl Into<String>) -> Self {
        Self {
            expected: Some(expected.into()),
            ..self
        }
    }

    pub(crate) fn found(self, found: impl Into<String>) -> Self {
        Self {
            found: Some(found.into()),
            ..self
        }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// Help, where there is any.
    pub(crate) fn maybe_help(self, help: Option<String>) -> Self {
        Self {
            help: help.or(self.help),
            ..self
        }
    }

    /// "did you mean", where something is near.
    pub(crate) fn did_you_mean(self, nearest: Option<&str>) -> Self {
        self.maybe_help(nearest.map(|name| format!("did you mean {}?", quote(name))))
    }

    pub(crate) fn resolve(self, sources: &[Source]) -> Problem {
        let source = sources.get(self.file);
        let position = source.zip(self.span).map(|(source, (start, _))| source.position(start));
        Problem {
            file: source.map_or_else(String::new, |source| source.path.display().to_string()),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            message: self.message,
            expected: self.expected,
            found: self.found,
            help: self.help,
            excerpt: source.zip(self.span).and_then(|(source, (start, end))| excerpt(source, start, end)),
        }
    }
}

/// The longest line that is shown.
const WIDEST: usize = 140;

/// The line at `start`, and how wide the caret below it is. None where it does not help (0 to 0 is the file as such), or shows a secret:
/// problems also go to logs.
fn excerpt(source: &Source, start: usize, end: usize) -> Option<(String, usize)> {
    let line = source.line(start);
    if (start, end) == (0, 0)
        || line.trim().is_empty()
        || line.contains("token")
        || line.contains("secret")
        || line.chars().count() > WIDEST
    {
        return None;
    }
    let (_, column) = source.position(start);
    let marked = source
        .slice(Place { file: 0, start, end })
        .lines()
        .next()
        .map_or(0, |text| text.chars().count());
    let room = line.chars().count().saturating_sub(column - 1);
    // A control character could move a terminal's cursor.
    let text = line
        .chars()
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect();
    Some((text, marked.min(room).max(1)))
}

/// A string of the file in quotes, fit for one line of a terminal.
pub(crate) fn quote(text: &str) -> String {
    let mut shown = String::from("\"");
    for (count, c) in text.chars().enumerate() {
        match c {
            _ if count == 80 => {
                shown.push('…');
                break;
            }
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown.push('"');
    shown
}

/// "a, b or c".
pub(crate) fn any_of<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => "nothing".into(),
        [one] => (*one).into(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> [Source; 1] {
        [Source {
            path: "lb.toml".into(),
            text: text.into(),
        }]
    }

    #[test]
    fn problems_are_sorted_shown_with_their_line_and_counted() {
        let sources = source("a = 1\n\tbalance = \"least_con\"\n");
        let place = |start, end| Place { file: 0, start, end };
        let problems = Problems::new(
            vec![
                Report::at(place(17, 28), "unknown balance \"least_con\"")
                    .expected("least_conn or hash")
                    .did_you_mean(Some("least_conn")),
                Report::at(place(4, 5), "`a` is wrong"),
            ],
            &sources,
        );
        let expected = "lb.toml:1:5: error: `a` is wrong\n  1 | a = 1\n    |     ^\n\
                        lb.toml:2:12: error: unknown balance \"least_con\"\n  2 | \tbalance = \"least_con\"\n    | \t          ^^^^^^^^^^^\n  \
                        expected least_conn or hash; did you mean \"least_conn\"?\n2 errors";
        assert_eq!(problems.to_string(), expected);
        let json = serde_json::to_value(&problems).unwrap();
        assert_eq!(json[1]["line"], 2);
        assert_eq!(json[1]["expected"], "least_conn or hash");
    }

    #[test]
    fn a_line_with_a_token_is_not_shown() {
        let sources = source("admin = { token = \"secret\" }");
        let problems = Problems::new(
            vec![Report::at(
                Place {
                    file: 0,
                    start: 18,
                    end: 26,
                },
                "bad token",
            )],
            &sources,
        );
        assert_eq!(problems.to_string(), "lb.toml:1:19: error: bad token\n1 error");
    }

    #[test]
    fn what_is_quoted_cannot_move_the_cursor() {
        assert_eq!(quote("a\u{1b}[2J\\d"), "\"a\\u{1b}[2J\\d\"");
    }
}

//! Reading tables: a cursor over one table's keys that notes every problem and goes on.
//!
//! A reader takes a value and gives what the program may assume of it, or `None` after it has reported why not. So a table is read in two
//! steps: first all of its keys, which reports all that is wrong with them, then `?` on each to put the result together.

use std::borrow::Cow;
use std::cell::RefCell;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use crate::interpolate::{Environment, Missing, interpolate};
use crate::mentions::Mentions;
use crate::parse::Lost;
use crate::problem::{Report, quote};
use crate::raw::{Key, Preset, Shape, TableDef};
use crate::read;
use crate::source::{Place, Source};
use crate::tree::{Entry, Node, Table, Value};
use crate::unknown;

/// What all readers share.
pub(crate) struct Check<'a> {
    sources: &'a [Source],
    environment: &'a Environment<'a>,
    /// What could not be read of the files.
    lost: Lost,
    reports: RefCell<Vec<Report>>,
    mentions: RefCell<Vec<(String, Place)>>,
    /// Every key that was asked for, by its table's title.
    #[cfg(test)]
    pub(crate) asked: RefCell<std::collections::BTreeSet<(&'static str, &'static str)>>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(sources: &'a [Source], environment: &'a Environment<'a>, lost: Lost) -> Self {
        Self {
            sources,
            environment,
            lost,
            reports: RefCell::default(),
            mentions: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// Notes a problem.
    pub(crate) fn report(&self, report: Report) {
        self.reports.borrow_mut().push(report);
    }

    /// Notes where a file is named that somebody else will read.
    pub(crate) fn mention(&self, key: String, place: Place) {
        self.mentions.borrow_mut().push((key, place));
    }

    /// Notes that a key is missing, unless it may stand in what could not be read.
    pub(crate) fn report_missing(&self, report: Report) {
        if self.lost == Lost::Nothing {
            self.report(report);
        }
    }

    /// Notes that a table is missing, unless it may stand in what could not be read.
    pub(crate) fn report_missing_table(&self, report: Report) {
        if self.lost < Lost::Tables {
            self.report(report);
        }
    }

    /// Notes that a value is of the wrong kind.
    pub(crate) fn wrong_kind(&self, node: &Node, expected: &str) {
        if matches!(node.value, Value::Broken) {
            return;
        }
        let text = self.source(node.at).slice(node.at);
        let help = match &node.value {
            Value::String(_) if expected.contains("a list") => Some(format!("write [{text}]")),
            Value::String(text) if expected.contains("number") && text.parse::<i64>().is_ok() => {
                Some(format!("write {text}, without quotes"))
            }
            Value::String(text) if expected == "true or false" && (text == "true" || text == "false") => {
                Some(format!("write {text}, without quotes"))
            }
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) if expected.starts_with("a string") => {
                Some(format!("write \"{text}\""))
            }
            _ => None,
        };
        let message = format!("`{}` cannot be {}", node.name(), node.kind());
        self.report(Report::at(node.at, message).expected(expected).found(node.kind()).maybe_help(help));
    }

    /// The file that a place is in.
    pub(crate) fn source(&self, place: Place) -> &'a Source {
        &self.sources[place.file]
    }

    /// A string with its references replaced.
    pub(crate) fn expand<'n>(&self, node: &Node, text: &'n str) -> Option<Cow<'n, str>> {
        let problem = match interpolate(text, self.environment) {
            Ok(text) => return Some(text),
            Err(Missing::Unset(name)) => Report::at(node.at, format!("the environment variable {name} is not set"))
                .help(format!("set it, or give a default: ${{{name}:-default}}"))
                .found(name),
            Err(Missing::Unclosed) => Report::at(node.at, "`${` without its `}`").help("write `$$` for a `$`"),
            Err(Missing::BadName(name)) => Report::at(node.at, format!("{} is no name of an environment variable", quote(&name)))
                .expected("${NAME} or ${NAME:-default}")
                .help("write `$$` for a `$`"),
        };
        self.report(problem);
        None
    }

    /// What was noted.
    pub(crate) fn into_reports(self) -> Vec<Report> {
        self.reports.into_inner()
    }

    /// Where files are named.
    pub(crate) fn mentions(&self) -> Mentions {
        let mentions = self.mentions.borrow();
        let placed = |(key, place): &(String, Place)| (key.clone(), Report::at(*place, "").resolve(self.sources));
        Mentions::new(mentions.iter().map(placed).collect())
    }
}

/// The keys of one table.
pub(crate) struct Fields<'a> {
    pub(crate) cx: &'a Check<'a>,
    pub(crate) node: &'a Node,
    table: &'a Table,
    def: &'static TableDef,
}

impl<'a> Fields<'a> {
    /// Opens a table, and reports every key in it that it does not know.
    pub(crate) fn open(cx: &'a Check<'_>, node: &'a Node, def: &'static TableDef) -> Option<Fields<'a>> {
        let Value::Table(table) = &node.value else {
            cx.wrong_kind(node, &format!("a table: {}", unknown::title(&node.path)));
            return None;
        };
        for entry in &table.entries {
            if !def.keys.iter().any(|key| key.name == entry.key) {
                cx.report(unknown::key(entry, def, node));
            }
        }
        Some(Self { cx, node, table, def })
    }

    /// Reports that a key is missing, and what it is for.
    pub(crate) fn missing(&self, name: &str) {
        if let Some(key) = self.key(name) {
            self.report_missing(key);
        }
    }

    /// The value of a key as it stands in the file.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Node> {
        self.key(name);
        self.table.get(name)
    }

    /// The value of a key, or its default.
    pub(crate) fn read<T>(&self, name: &str, reader: impl FnOnce(&Check<'_>, &Node) -> Option<T>) -> Option<T> {
        let key = self.key(name)?;
        match (self.table.get(name), key.default) {
            (Some(node), _) => reader(self.cx, node),
            (None, Some(preset)) => reader(self.cx, &self.preset(name, preset)),
            (None, None) => {
                if key.required {
                    self.report_missing(key);
                }
                None
            }
        }
    }

    /// The value of a key that may be absent: then `Some(None)`.
    pub(crate) fn optional<T>(&self, name: &str, reader: impl FnOnce(&Check<'_>, &Node) -> Option<T>) -> Option<Option<T>> {
        self.get(name).map_or(Some(None), |node| reader(self.cx, node).map(Some))
    }

    /// A whole number in the bounds that the key has, or its default.
    pub(crate) fn integer<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        self.read(name, |cx, node| read::integer(cx, node, self.bounds(name)))?
            .try_into()
            .ok()
    }

    /// A whole number above 0 in the bounds that the key has, or its default.
    pub(crate) fn count(&self, name: &str) -> Option<NonZeroU32> {
        NonZeroU32::new(self.integer(name)?)
    }

    /// The bounds of a number.
    pub(crate) fn bounds(&self, name: &str) -> RangeInclusive<u64> {
        let key = self.key(name);
        debug_assert!(
            matches!(
                key,
                Some(Key {
                    shape: Shape::Integer(..),
                    ..
                })
            ),
            "{name} is no number"
        );
        match key {
            Some(Key {
                shape: Shape::Integer(least, most),
                ..
            }) => *least..=*most,
            _ => 0..=u64::MAX,
        }
    }

    fn report_missing(&self, key: &Key) {
        // A misspelt key has been reported as such.
        let misspelt = |entry: &Entry| unknown::meant(&entry.key, self.def) == Some(key.name);
        if self.table.entries.iter().any(misspelt) {
            return;
        }
        let message = match self.node.path.as_str() {
            "" => format!("there is no [{}]", key.name),
            path => format!("{} has no `{}`", unknown::title(path), key.name),
        };
        self.cx
            .report_missing(Report::at(self.node.at, message).help(format!("`{}`: {}", key.name, key.about)));
    }

    /// A key that the table is known to have.
    fn key(&self, name: &str) -> Option<&'static Key> {
        let key = self.def.keys.iter().find(|key| key.name == name);
        debug_assert!(key.is_some(), "{} has no key {name}", self.def.title);
        #[cfg(test)]
        self.cx.asked.borrow_mut().extend(key.map(|key| (self.def.title, key.name)));
        key
    }

    fn preset(&self, name: &str, preset: Preset) -> Node {
        let path = format!("{}.{name}", self.node.path);
        let value = match preset {
            Preset::Text(text) => Value::String(text.to_owned()),
            Preset::Integer(number) => Value::Integer(number.into()),
            Preset::Boolean(flag) => Value::Boolean(flag),
            Preset::List(list) => Value::Array(list.iter().map(|preset| self.preset(name, *preset)).collect()),
            Preset::Table => Value::Table(Table::default()),
        };
        Node {
            at: self.node.at,
            path,
            value,
        }
    }
}

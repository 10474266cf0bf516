//! A file as a tree of values that know where they stand.

use crate::source::Place;

/// A value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where it stands. A table with a header of its own stands at that header.
    pub(crate) at: Place,
    /// The keys that lead to it, joined by dots. List entries bear their list's.
    pub(crate) path: String,
    /// What it is.
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A string, before `${…}` are replaced.
    String(String),
    /// A whole number. One beyond 128 bits is as large as can be.
    Integer(i128),
    /// Another number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date or a time, which no key takes.
    Datetime,
    /// A list.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
    /// Something with an error in it that has been reported.
    Broken,
}

/// A table, in the order of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// Whether it has a header or braces of its own, and is not only named by what is below it.
    pub(crate) explicit: bool,
    /// Its keys and values.
    pub(crate) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) key_at: Place,
    /// The value.
    pub(crate) node: Node,
}

impl Node {
    /// The last key of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or("")
    }

    /// Whether it has headers of its own: a table, or a list of tables.
    fn is_below(&self) -> bool {
        match &self.value {
            Value::Table(_) => true,
            Value::Array(list) => !list.is_empty() && list.iter().all(|entry| matches!(entry.value, Value::Table(_))),
            _ => false,
        }
    }

    /// For messages: "a list".
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::String(_) => "a string",
            Value::Integer(_) => "a number",
            Value::Float(_) => "a number with a fraction",
            Value::Boolean(_) => "true or false",
            Value::Datetime => "a date or time",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
            Value::Broken => "broken",
        }
    }
}

impl Table {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Whether it holds something itself, and not only tables below it.
    fn is_given(&self) -> bool {
        self.explicit || !self.entries.iter().all(|entry| entry.node.is_below())
    }

    /// Adds what another file says. What both of them say is handed to `twice`: the first, then the second.
    pub(crate) fn merge(&mut self, other: Table, twice: &mut impl FnMut(&Entry, &Entry)) {
        self.explicit |= other.explicit;
        for theirs in other.entries {
            match self.entries.iter_mut().find(|ours| ours.key == theirs.key) {
                None => self.entries.push(theirs),
                Some(ours) => ours.merge(theirs, twice),
            }
        }
    }
}

impl Entry {
    fn merge(&mut self, theirs: Entry, twice: &mut impl FnMut(&Entry, &Entry)) {
        match (&mut self.node.value, theirs.node.value) {
            (Value::Table(ours), Value::Table(table)) if !(ours.is_given() && table.is_given()) => {
                if table.is_given() {
                    (self.key_at, self.node.at) = (theirs.key_at, theirs.node.at);
                }
                ours.merge(table, twice);
            }
            (Value::Array(ours), Value::Array(list)) if matches!(self.node.path.as_str(), "routes" | "server.tls") => {
                ours.extend(list);
            }
            (_, value) => twice(
                self,
                &Entry {
                    node: Node { value, ..theirs.node },
                    ..theirs
                },
            ),
        }
    }
}

//! What a file may say: for each table the keys it knows, what may stand there, and what holds when they are absent.
//!
//! This is data, and the only list of keys there is. [`crate::fields`] reads tables by it and refuses what is not in it, [`crate::schema`]
//! prints it for editors, and the defaults of a reader are those that the schema shows. So the three cannot drift apart.

mod overload;
mod route;
mod server;
mod upstream;

pub(crate) use overload::*;
pub(crate) use route::*;
pub(crate) use server::*;
pub(crate) use upstream::*;

/// A table of the file.
pub(crate) struct TableDef {
    /// As it is written in a file; `NAME` stands for a name that the file chooses.
    pub(crate) title: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// What it may hold.
    pub(crate) keys: &'static [Key],
    /// Keys of the file format that this version does not have yet. They are refused by name: nothing is read and ignored.
    pub(crate) later: &'static [&'static str],
}

/// A key of a table.
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: &'static str,
    /// What may stand there.
    pub(crate) shape: Shape,
    /// What it is for.
    pub(crate) about: &'static str,
    /// What holds when it is absent; `None`: nothing does, the part is off.
    pub(crate) default: Option<Preset>,
    /// Whether its absence is an error.
    pub(crate) required: bool,
}

/// What may stand at a key.
pub(crate) enum Shape {
    /// A string.
    Text,
    /// A string that matches this regular expression (which an editor checks; `lb` checks more).
    Pattern(&'static str),
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// `"250ms"`, `"2s"`.
    Duration,
    /// `"64KiB"`, `"10MB"`.
    Size,
    /// One of these numbers.
    Number(&'static [u64]),
    /// A whole number from the one to the other.
    Integer(u64, u64),
    /// `true` or `false`.
    Boolean,
    /// A list of these.
    List(&'static Shape),
    /// A table with the keys that it names.
    Table(&'static TableDef),
    /// A table whose keys the file chooses.
    Map(&'static Shape),
    /// Any of these.
    Either(&'static [Shape]),
}

/// Words of which one may stand at a key.
pub(crate) struct Choice {
    /// What one of them is.
    pub(crate) what: &'static str,
    /// Those that this version has.
    pub(crate) names: &'static [&'static str],
    /// Those that the file format has and this version does not.
    pub(crate) later: &'static [&'static str],
}

/// The value of an absent key.
#[derive(Clone, Copy)]
pub(crate) enum Preset {
    /// A string.
    Text(&'static str),
    /// A number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list.
    List(&'static [Preset]),
    /// A table of nothing but defaults.
    Table,
}

/// An optional key without a default.
const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key {
        name,
        shape,
        about,
        default: None,
        required: false,
    }
}

impl Key {
    const fn required(self) -> Key {
        Key { required: true, ..self }
    }

    const fn default(self, value: Preset) -> Key {
        Key {
            default: Some(value),
            ..self
        }
    }

    const fn text(self, value: &'static str) -> Key {
        self.default(Preset::Text(value))
    }

    const fn integer(self, value: i64) -> Key {
        self.default(Preset::Integer(value))
    }
}

/// A part that can be switched off.
const OFF: Shape = Shape::OneOf(&["off"]);
/// An IP address and a port.
const SOCKET: Shape = Shape::Pattern(r"^(\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]):\d{1,5}$");
/// An IP address, or a network in CIDR notation.
const NETWORK: Shape = Shape::Pattern(r"^[0-9A-Fa-f:.]+(/\d{1,3})?$");
/// A path of a URL.
const URL_PATH: Shape = Shape::Pattern("^/");
/// Values of header fields by their names.
const HEADERS: Shape = Shape::Map(&Shape::Text);
/// No more than this can be counted, and nobody needs more.
const MANY: u64 = 1_000_000_000;

/// The top of the file.
pub(crate) static ROOT: TableDef = TableDef {
    title: "the top of the file",
    about: "The configuration file of lb.",
    keys: &[
        key(
            "include",
            Shape::List(&Shape::Text),
            "More files, merged into this one: paths and globs, relative to this file's folder.",
        ),
        key("server", Shape::Table(&SERVER), SERVER.about).required(),
        key("limits", Shape::Table(&LIMITS), LIMITS.about).default(Preset::Table),
        key(
            "upstreams",
            Shape::Map(&Shape::Table(&UPSTREAM)),
            "Groups of servers that do the same, by name.",
        ),
        key("cache", Shape::Table(&CACHE), CACHE.about).default(Preset::Table),
        key(
            "routes",
            Shape::List(&Shape::Table(&ROUTE)),
            "What is done with which requests. The most specific route wins. Without routes, the only upstream gets everything.",
        ),
    ],
    later: &["rate_limits"],
};

//! The files of a configuration: the one that is named, and those that it includes.

use std::io;
use std::path::{Path, PathBuf};

use crate::fields::Check;
use crate::interpolate::Environment;
use crate::parse::{Lost, Parsed, parse};
use crate::problem::{Report, quote};
use crate::read;
use crate::source::{Place, Source};
use crate::tree::{Entry, Node, Table, Value};

/// All files, merged.
pub(crate) struct Loaded {
    /// The top of the file. `None` when the first one could not be read.
    pub(crate) root: Option<Node>,
    /// The files, the named one first.
    pub(crate) sources: Vec<Source>,
    /// Problems so far.
    pub(crate) reports: Vec<Report>,
    /// What is missing because of them.
    pub(crate) lost: Lost,
}

/// Reads a file and all that it includes.
pub(crate) fn load(path: &Path, environment: &Environment<'_>) -> Loaded {
    let mut loader = Loader::new(environment);
    let table = loader.file(path, None, &mut Vec::new());
    loader.loaded(table)
}

/// What a file says that cannot include others.
pub(crate) fn load_alone(path: &Path, bytes: &[u8], environment: &Environment<'_>) -> Loaded {
    let mut loader = Loader::new(environment);
    let table = loader.text(path, bytes).map(|Parsed { table, reports, lost }| {
        loader.reports.extend(reports);
        loader.lost = loader.lost.max(lost);
        table
    });
    loader.loaded(table)
}

struct Loader<'a> {
    environment: &'a Environment<'a>,
    sources: Vec<Source>,
    reports: Vec<Report>,
    lost: Lost,
    /// The files by the names that the file system has for them: one that is included twice is read once.
    canonical: Vec<PathBuf>,
}

impl<'a> Loader<'a> {
    fn new(environment: &'a Environment<'a>) -> Self {
        Loader {
            environment,
            sources: Vec::new(),
            reports: Vec::new(),
            lost: Lost::Nothing,
            canonical: Vec::new(),
        }
    }

    fn loaded(self, table: Option<Table>) -> Loaded {
        let at = Place { file: 0, start: 0, end: 0 };
        let node = |table| Node {
            at,
            path: String::new(),
            value: Value::Table(table),
        };
        Loaded {
            root: table.map(node),
            sources: self.sources,
            reports: self.reports,
            lost: self.lost,
        }
    }

    /// Reads a file that is included at `from`. `above` are the files that it is included by.
    fn file(&mut self, path: &Path, from: Option<Place>, above: &mut Vec<PathBuf>) -> Option<Table> {
        let canonical = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if let (Some(from), Some(position)) = (from, above.iter().position(|above| *above == canonical)) {
            self.reports.push(Report::at(
                from,
                format!("{} includes itself{}", path.display(), through(&above[position + 1..])),
            ));
            return None;
        }
        if self.canonical.contains(&canonical) {
            return None;
        }
        let Parsed { mut table, reports, lost } = self.parsed(path, from)?;
        self.reports.extend(reports);
        self.lost = self.lost.max(lost);
        self.canonical.push(canonical.clone());
        above.push(canonical);
        for (included, at) in self.included(&table) {
            if let Some(other) = self.file(&included, Some(at), above) {
                self.merge(&mut table, other);
            }
        }
        above.pop();
        if from.is_some() {
            table.entries.retain(|entry| entry.key != "include");
        }
        Some(table)
    }

    fn parsed(&mut self, path: &Path, from: Option<Place>) -> Option<Parsed> {
        match std::fs::read(path) {
            Ok(bytes) => self.text(path, &bytes),
            Err(error) => {
                self.unreadable(path, from, &error);
                None
            }
        }
    }

    fn text(&mut self, path: &Path, bytes: &[u8]) -> Option<Parsed> {
        let file = self.sources.len();
        // A byte order mark is no part of the text.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(error) => {
                let at = Place {
                    file,
                    start: error.valid_up_to(),
                    end: error.valid_up_to(),
                };
                self.reports.push(Report::at(at, "this is no UTF-8").expected("text in UTF-8"));
                self.lost = Lost::Tables;
                String::from_utf8_lossy(bytes).into_owned()
            }
        };
        let utf8 = text.len() == bytes.len();
        let parsed = utf8.then(|| parse(file, &text));
        self.sources.push(Source {
            path: path.to_owned(),
            text,
        });
        parsed
    }

    fn unreadable(&mut self, path: &Path, from: Option<Place>, error: &io::Error) {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::IsADirectory => "this is a folder".to_owned(),
            io::ErrorKind::PermissionDenied => "the permission to read it is missing".to_owned(),
            _ => error.to_string(),
        };
        self.lost = Lost::Tables;
        self.reports.push(match from {
            Some(from) => Report::at(from, format!("cannot read {}: {why}", path.display())),
            None => {
                self.sources.push(Source {
                    path: path.to_owned(),
                    text: String::new(),
                });
                Report::of_file(0, why)
            }
        });
    }

    /// The files that `include` names, each with the place where it does.
    fn included(&mut self, table: &Table) -> Vec<(PathBuf, Place)> {
        let Some(node) = table.get("include") else { return Vec::new() };
        let cx = Check::new(&self.sources, self.environment, Lost::Nothing);
        // One that is wrong is no reason to leave out the others.
        let patterns = read::list(&cx, node, |cx, node| Some(read::filled(cx, node).map(|pattern| (pattern, node.at))));
        let mut files = Vec::new();
        for (pattern, at) in patterns.into_iter().flatten().flatten() {
            match matches(cx.source(at).folder(), &pattern) {
                Ok(paths) => files.extend(paths.into_iter().map(|path| (path, at))),
                Err(why) => cx.report(Report::at(at, format!("bad glob {}: {why}", quote(&pattern))).found(pattern)),
            }
        }
        self.reports.extend(cx.into_reports());
        files
    }

    /// Adds what an included file says.
    fn merge(&mut self, table: &mut Table, other: Table) {
        let (sources, reports) = (&self.sources, &mut self.reports);
        table.merge(other, &mut |first: &Entry, second: &Entry| {
            let path = &second.node.path;
            let what = if matches!(second.node.value, Value::Table(_)) {
                format!("[{path}]")
            } else {
                format!("`{path}`")
            };
            let first = sources[first.key_at.file].show(first.key_at);
            reports.push(
                Report::at(second.key_at, format!("{what} is given twice"))
                    .found(path)
                    .help(format!("the first is at {first}")),
            );
        });
    }
}

/// The files between a file and itself.
fn through(between: &[PathBuf]) -> String {
    let names: Vec<String> = between
        .iter()
        .filter_map(|path| Some(path.file_name()?.display().to_string()))
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(", through {}", names.join(" and "))
    }
}

/// The files that match a pattern, in the order of their names. A pattern without `*`, `?` and `[` is a file's name, whether there is one or not.
fn matches(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, &'static str> {
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![folder.join(pattern)]);
    }
    let absolute = Path::new(pattern).is_absolute();
    let folder = if absolute {
        PathBuf::new()
    } else {
        PathBuf::from(glob::Pattern::escape(&folder.to_string_lossy()))
    };
    // `*` skips hidden files, such as an editor's.
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        ..Default::default()
    };
    let found = glob::glob_with(&folder.join(pattern).to_string_lossy(), options).map_err(|error| error.msg)?;
    Ok(found.filter_map(Result::ok).filter(|path| path.is_file()).collect())
}

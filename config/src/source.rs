//! The files that were read, and places in them.

use std::path::{Path, PathBuf};

/// A file's text.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it was read, as the user would write it.
    pub(crate) path: PathBuf,
    /// What was read.
    pub(crate) text: String,
}

/// Some bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the [`Source`].
    pub(crate) file: usize,
    /// The first byte.
    pub(crate) start: usize,
    /// The byte after the last one.
    pub(crate) end: usize,
}

impl Source {
    /// The folder that relative paths in this file start at.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Line and column of a byte, both from 1, the column in characters.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// "lb.toml:3:1", for a message about another place.
    pub(crate) fn show(&self, place: Place) -> String {
        let (line, column) = self.position(place.start);
        format!("{}:{line}:{column}", self.path.display())
    }

    /// The text of a place; empty when the place is not in the text.
    pub(crate) fn slice(&self, place: Place) -> &str {
        self.text.get(place.start..place.end).unwrap_or("")
    }

    /// The line that holds a byte, without its end.
    pub(crate) fn line(&self, offset: usize) -> &str {
        let offset = self.text.floor_char_boundary(offset);
        let start = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        self.text[start..].lines().next().unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_counts_characters_and_not_bytes() {
        let source = Source {
            path: "a.toml".into(),
            text: "é = 1\r\nü = 'ö' # x\n".into(),
        };
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position("é = ".len()), (1, 5));
        assert_eq!(source.position("é = 1\r\nü = ".len()), (2, 5));
        assert_eq!(source.position(usize::MAX), (3, 1));
        assert_eq!(source.line(3), "é = 1");
        assert_eq!(source.line(usize::MAX), "");
    }
}

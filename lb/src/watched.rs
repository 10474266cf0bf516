//! Files that are read again when they change.
//!
//! A change is not one moment. A file is written in pieces, two that belong together one after the other, or all appear at once as a link
//! is swapped (Kubernetes swaps `..data`). So files are looked at from time to time, by their names, which works for links, mounts and
//! network file systems alike, and what they say is taken only when it has said the same twice running. Whoever takes it says so, or
//! refuses it; until then what was last taken stays in use.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// File systems tell times this coarsely: a file that was changed so shortly before it was read may change again within the same time.
const COARSE: Duration = Duration::from_secs(2);

/// Between two looks at files.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// What was seen when some files were last looked at. What they say is known by its [`fingerprint`].
#[derive(Default)]
pub(crate) struct Look {
    stamps: Vec<Option<Stamp>>,
    /// Whether contents that differ from those seen would have other stamps.
    certain: bool,
    /// The contents in use.
    used: u64,
    /// Other contents that were seen last.
    seen: Option<u64>,
    /// Contents whose faults have been told.
    told: Option<u64>,
}

/// Contents, and their fingerprint.
pub(crate) struct Changed<C> {
    pub(crate) contents: C,
    pub(crate) fingerprint: u64,
}

/// Only ever compared with those of the same files.
pub(crate) fn fingerprint(contents: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    hasher.finish()
}

impl Look {
    /// The contents with this fingerprint are in use.
    pub(crate) fn new(used: u64) -> Self {
        Self { used, ..Self::default() }
    }

    /// Looks at the files again. What they say now, where that is not what is in use and was the same at the look before.
    pub(crate) fn again<'a, C: Hash>(&mut self, files: impl Iterator<Item = &'a Path>, read: impl FnOnce() -> C) -> Option<Changed<C>> {
        let now = SystemTime::now();
        let stamps: Vec<_> = files.map(|path| std::fs::metadata(path).ok().map(Stamp::of)).collect();
        if self.certain && stamps == self.stamps {
            return None;
        }
        self.certain = stamps
            .iter()
            .all(|stamp| stamp.is_some_and(|stamp| stamp.is_older_than(now, COARSE)));
        self.stamps = stamps;
        let contents = read();
        let fingerprint = fingerprint(&contents);
        if fingerprint == self.used {
            (self.seen, self.told) = (None, None);
            return None;
        }
        if self.seen.replace(fingerprint) != Some(fingerprint) {
            // They may still be being written.
            self.certain = false;
            return None;
        }
        Some(Changed { contents, fingerprint })
    }

    /// Whether the files said at the last look what is in use.
    pub(crate) fn is_in_use(&self) -> bool {
        self.seen.is_none()
    }

    /// Has what the files say taken for news again, though it may not change: what is missing may be found elsewhere.
    pub(crate) fn try_again(&mut self) {
        self.certain = false;
    }

    /// Contents with this fingerprint are in use from now on.
    pub(crate) fn taken(&mut self, fingerprint: u64) {
        (self.used, self.seen, self.told) = (fingerprint, None, None);
    }

    /// Contents with this fingerprint cannot be used. Whether that is news.
    pub(crate) fn refused(&mut self, fingerprint: u64) -> bool {
        self.told.replace(fingerprint) != Some(fingerprint)
    }
}

/// What tells that a file has changed, without reading it.
#[derive(PartialEq, Eq, Clone, Copy)]
pub(crate) struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that these metadata are of.
    pub(crate) fn of(metadata: Metadata) -> Stamp {
        Stamp {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_older_than(self, now: SystemTime, age: Duration) -> bool {
        let since = |(seconds, _): (i64, i64)| Some(now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs() as i64 - seconds);
        [self.modified, self.changed]
            .into_iter()
            .all(|time| since(time).is_some_and(|since| since > age.as_secs() as i64))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_said_twice_running_is_taken_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let read = || fs::read(&path).ok();
        fs::write(&path, "a").expect("a file");
        let mut look = Look::new(fingerprint(&read()));
        let mut again = |text: Option<&str>| {
            match text {
                Some(text) => fs::write(&path, text).expect("a file"),
                None => fs::remove_file(&path).unwrap_or_default(),
            }
            let changed = look.again([path.as_path()].into_iter(), read)?;
            let news = if changed.contents.is_some() {
                look.taken(changed.fingerprint);
                true
            } else {
                look.refused(changed.fingerprint)
            };
            Some((changed.contents, news))
        };
        let said = |text: &str| Some((Some(text.as_bytes().to_vec()), true));
        assert_eq!(again(Some("a")), None);
        assert_eq!((again(Some("b")), again(Some("b")), again(Some("b"))), (None, said("b"), None));
        assert_eq!((again(Some("c")), again(Some("d")), again(Some("d"))), (None, None, said("d")));
        assert_eq!(
            (again(None), again(None), again(None)),
            (None, Some((None, true)), Some((None, false)))
        );
        assert_eq!((again(Some("d")), again(None), again(None)), (None, None, Some((None, true))));
    }
}

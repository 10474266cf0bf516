//! Where lines end up.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A destination that is written to as it is, without a buffer in between.
pub(in crate::observe) trait Sink: Send + 'static {
    /// Writes some of the bytes; how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Opens the destination anew.
    fn reopen(&mut self) -> io::Result<Reopened>;
}

/// What a destination is after it was opened anew.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::observe) enum Reopened {
    /// What it was before.
    Same,
    /// Another file.
    Other,
}

/// A file, or a stream that is open already.
pub(in crate::observe) struct FileSink {
    file: File,
    /// The path, for what can be opened again.
    path: Option<PathBuf>,
}

impl FileSink {
    /// Opens a file for appending, and makes it where it is not there. Opening a named pipe waits for its reader.
    pub(in crate::observe) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: append(path)?,
            path: Some(path.to_owned()),
        })
    }

    /// A stream of the process, by a descriptor of our own: std's own handles have a buffer and a lock, which a stalled write would hold.
    pub(in crate::observe) fn stream(stream: &impl AsFd) -> io::Result<Self> {
        Ok(Self {
            file: File::from(stream.as_fd().try_clone_to_owned()?),
            path: None,
        })
    }
}

impl Sink for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn reopen(&mut self) -> io::Result<Reopened> {
        let Some(path) = &self.path else { return Ok(Reopened::Same) };
        let new = append(path)?;
        let [old, now] = [self.file.metadata()?, new.metadata()?].map(|data| (data.dev(), data.ino()));
        self.file = new;
        Ok(if old == now { Reopened::Same } else { Reopened::Other })
    }
}

fn append(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    if ends_within_a_line(path, &file) {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Whether whoever wrote the file last was stopped in the middle of a line. A file that may not be read gets the benefit of the doubt.
fn ends_within_a_line(path: &Path, file: &File) -> bool {
    let mut last = [b'\n'];
    if file.metadata().is_ok_and(|data| data.is_file() && data.len() > 0) {
        let _ = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)
        });
    }
    last != *b"\n"
}

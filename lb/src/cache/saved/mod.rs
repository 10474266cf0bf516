//! The store over a restart: written to a file when `lb` ends, and read when it starts.
//!
//! # What may be read again
//!
//! Nobody tells an `lb` that does not run what is not true any more. Therefore what a file holds counts only if no other `lb` has worked in the
//! meantime in the place of the one that wrote it:
//!
//! - Whoever starts takes the file: it reads what is there, and puts a note with a token of its own in its place. After a crash there is
//!   only that note, and the store begins empty.
//! - Whoever ends writes the file only if its own note is there. At an upgrade the old process ends after the new one has started, and
//!   purges go to the new one: what the old one has is not kept.
//!
//! Responses grow older by the wall clock while nobody runs. A clock that was set back since makes the file useless.
//!
//! # The file
//!
//! [`MAGIC`], the four seeds by which keys and tags are hashed (tags are known by their hashes only), the hash of [`PROBE`] under them, the time
//! of writing in milliseconds since 1970; then for each response the length of its record, the record's checksum and the [`record`]. Numbers are little-endian. Reading
//! ends at the first record that is not whole. The file can be read by its owner only.

mod record;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use super::object::Object;
use super::room::{Charge, Got};
use super::{Cache, Now, lock};

/// How a file with responses begins; the last character is the version.
const MAGIC: &[u8; 8] = b"lbcache1";
/// How one begins whose `lb` runs.
const NOTE: &[u8; 8] = b"lbcacher";
/// What is hashed to see whether this build and machine hash as the ones that wrote the file.
const PROBE: &[u8] = b"the quick brown fox";
/// Bytes of a record beside its body: head, key and tags.
const MOST_BESIDE: u64 = 4 << 20;
/// Bytes that are read or written at once.
const BUFFER: usize = 1 << 18;

/// A cache's file, while `lb` runs.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    token: [u8; 16],
    seeds: [u64; 4],
}

/// What came of looking at a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// There was none.
    Nothing,
    /// So many responses came out of it.
    Responses(u64),
    /// It was not used, for this reason.
    Unused(String),
}

impl Place {
    /// Makes a cache of what the file has, if it may be used, and takes the file.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: PathBuf, memory: u64, max_object: u64, now: Now) -> io::Result<(Arc<Cache>, Self, Loaded)> {
        let mut file = match File::open(&path) {
            Ok(file) => Some(BufReader::with_capacity(BUFFER, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let begun = file.as_mut().map(|file| begin(file, now));
        let (seeds, away) = match &begun {
            Some(Ok(begun)) => *begun,
            _ => (std::array::from_fn(|_| rand::random()), Duration::ZERO),
        };
        let place = Self {
            path,
            token: rand::random(),
            seeds,
        };
        // Before anything of it is used, so that it is used once.
        replace(&place.path, |file| file.write_all(&[&NOTE[..], &place.token].concat()))?;
        let cache = Cache::with(memory, max_object, hashing(seeds));
        let loaded = match (file, begun) {
            (Some(mut file), Some(Ok(_))) => Loaded::Responses(cache.load(&mut file, away, now)),
            (_, Some(Err(reason))) => Loaded::Unused(reason),
            _ => Loaded::Nothing,
        };
        Ok((cache, place, loaded))
    }

    /// Writes what the cache has; returns how many responses. `None`: another `lb` has taken the file.
    ///
    /// # Errors
    /// It cannot be written. The note stays, so that the next one begins empty.
    pub fn save(&self, cache: &Cache, now: Now) -> io::Result<Option<u64>> {
        let mut note = Vec::new();
        let length = (NOTE.len() + self.token.len()) as u64;
        File::open(&self.path)?.take(length).read_to_end(&mut note)?;
        if note.strip_prefix(NOTE) != Some(&self.token[..]) {
            return Ok(None);
        }
        replace(&self.path, |file| {
            let mut out = BufWriter::with_capacity(BUFFER, file);
            out.write_all(MAGIC)?;
            let written = [probe(&cache.hashing), now.millis()];
            for number in self.seeds.iter().chain(&written) {
                out.write_all(&number.to_le_bytes())?;
            }
            let saved = cache.write_all(&mut out, now)?;
            out.flush()?;
            Ok(saved)
        })
        .map(Some)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Cache {
    fn write_all(&self, out: &mut impl Write, now: Now) -> io::Result<u64> {
        let mut saved = 0;
        for shard in &self.shards {
            let objects = lock(shard).objects();
            for (object, hits) in objects {
                let head = record::write(&object, hits, now);
                let length: u64 = object.chunks().iter().map(|chunk| chunk.len() as u64).sum();
                let Ok(whole) = u32::try_from(head.len() as u64 + length) else {
                    continue;
                };
                let pieces = || std::iter::once(&head[..]).chain(object.chunks().iter().map(|chunk| &chunk[..]));
                out.write_all(&whole.to_le_bytes())?;
                out.write_all(&checksum(pieces()).to_le_bytes())?;
                pieces().try_for_each(|piece| out.write_all(piece))?;
                saved += 1;
            }
        }
        Ok(saved)
    }

    /// Stores what the file has, until it ends, breaks off, or no room is left.
    fn load(&self, file: &mut impl Read, away: Duration, now: Now) -> u64 {
        let mut loaded = 0;
        while let Some(bytes) = self.next_record(file) {
            let began = self.next_number();
            let Some(object) = record::read(bytes, self, began, away, now) else {
                continue;
            };
            if object.length().is_some_and(|length| length > self.max_object()) {
                continue;
            }
            if !self.put_back(&Arc::new(object)) {
                break;
            }
            loaded += 1;
        }
        loaded
    }

    /// `None` at the end, and where the file is not what was written.
    fn next_record(&self, file: &mut impl Read) -> Option<Vec<u8>> {
        let length = u32::from_le_bytes(read_array(file)?);
        let sum = u32::from_le_bytes(read_array(file)?);
        let mut bytes = Vec::new();
        // Not more at once than is there, whatever the length says.
        file.take(length.into()).read_to_end(&mut bytes).ok()?;
        let whole = bytes.len() as u64 == u64::from(length) && u64::from(length) <= self.room.bound().saturating_add(MOST_BESIDE);
        (whole && checksum([&bytes[..]]) == sum).then_some(bytes)
    }

    /// Stores a whole object, if there is room without another's going.
    fn put_back(&self, object: &Arc<Object>) -> bool {
        let size = object.size();
        if self.room.enter(size) != Got::Yes {
            return false;
        }
        let charge = Charge::new(&self.room, size);
        let removed = self.put(&mut self.shard(object.key.hash), object, charge);
        if let Some(removed) = removed {
            self.let_go(removed);
        }
        true
    }
}

/// Reads what a file begins with: the seeds, and how long ago it was written.
fn begin(file: &mut impl Read, now: Now) -> Result<([u64; 4], Duration), String> {
    let broken = || "it is not a whole file of a cache".to_owned();
    match &read_array(file).ok_or_else(broken)? {
        MAGIC => {}
        NOTE => return Err("the lb that had it was not ended in order, or still runs".to_owned()),
        _ => return Err(broken()),
    }
    let mut number = || read_array(file).map(u64::from_le_bytes).ok_or_else(broken);
    let seeds = [number()?, number()?, number()?, number()?];
    if number()? != probe(&hashing(seeds)) {
        return Err("it comes from another build or another kind of machine".to_owned());
    }
    let written = number()?;
    let away = now
        .millis()
        .checked_sub(written)
        .ok_or_else(|| "it was written in the future: the clock was set back".to_owned())?;
    Ok((seeds, Duration::from_millis(away)))
}

/// Puts a new file in the place of an old one, whole or not at all.
fn replace<T>(path: &Path, write: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // What a crash has left, which may be anybody's to read.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = write(&mut file).and_then(|written| fs::rename(&new, path).map(|()| written));
    if written.is_err() {
        // There is nothing that could be done if this fails, too.
        let _ = fs::remove_file(&new);
    }
    written
}

fn hashing([a, b, c, d]: [u64; 4]) -> RandomState {
    RandomState::with_seeds(a, b, c, d)
}

fn probe(hashing: &RandomState) -> u64 {
    hashing.hash_one(PROBE)
}

/// Tells a torn or damaged record.
fn checksum<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    pieces.into_iter().for_each(|piece| crc.update(piece));
    crc.finalize()
}

fn read_array<const N: usize>(file: &mut impl Read) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).ok().map(|()| bytes)
}

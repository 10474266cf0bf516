//! Those who did not ask the origin themselves: a [`Follower`] waits for the head of somebody else's answer, a [`Reader`] reads its body along.
//!
//! Each follower waits on a channel of its own, through which it is told, once, how it goes on. So one of a thousand can be woken alone, to
//! take the place of a leader that is gone; and because what is sent is owned by the channel, a lead that its follower no longer takes is
//! dropped there, and a dropped lead looks for the next.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Cache;
use super::buffer::Found;
use super::flight::{Flight, Phase};
use super::hit::Hit;
use super::lead::Lead;
use super::object::Object;
use super::status::Miss;
use crate::exchange::head::Fields;

/// What a follower is told.
#[derive(Debug)]
pub(super) enum Word {
    /// The head is here and may be shared.
    Stream(Reader),
    /// The answer is what was stored.
    Hit(Hit),
    /// The leader is gone; fetch.
    Lead(Lead),
    /// The answer is not for others.
    Alone,
}

/// Waits for the head of an answer that somebody else fetches. Dropping it leaves no trace.
#[derive(Debug)]
pub struct Follower {
    cache: Arc<Cache>,
    flight: Arc<Flight>,
    miss: Miss,
    id: u64,
    word: oneshot::Receiver<Word>,
    /// It joined at a time when nothing with tags was to be trusted.
    wary: bool,
}

/// How a follower goes on.
#[derive(Debug)]
pub enum Joined {
    /// The answer is here, whole. It is stale where the origin gave no good one.
    Hit(Hit),
    /// The answer is arriving.
    Stream(Reader),
    /// The leader is gone, and this request fetches for the others.
    Lead(Lead),
    /// The answer is not for others: this request fetches for itself. Its answer may be stored all the same.
    Alone(Lead),
    /// The answer is for other request fields (`Vary`), or was purged: look up again.
    Again,
}

impl Follower {
    pub(super) fn new(cache: &Arc<Cache>, flight: &Arc<Flight>, miss: Miss, id: u64, word: oneshot::Receiver<Word>, wary: bool) -> Self {
        Self {
            cache: Arc::clone(cache),
            flight: Arc::clone(flight),
            miss,
            id,
            word,
            wary,
        }
    }

    /// Why the store had nothing.
    pub fn miss(&self) -> Miss {
        self.miss
    }

    /// Waits. `request` is the one that was looked up. May be dropped at any moment, and be given a time limit.
    pub async fn wait(mut self, request: &impl Fields) -> Joined {
        match (&mut self.word).await {
            Ok(Word::Stream(reader)) if !reader.object.variant().matches(request) => Joined::Again,
            Ok(Word::Stream(reader)) if self.wary && !reader.object.tags.is_empty() => {
                drop(reader);
                self.alone(request)
            }
            Ok(Word::Stream(reader)) if reader.object.is_whole() => Joined::Hit(Hit::new(&reader.object)),
            Ok(Word::Stream(mut reader)) => {
                reader.miss = self.miss;
                Joined::Stream(reader)
            }
            Ok(Word::Hit(hit)) if !hit.object.variant().matches(request) => Joined::Again,
            Ok(Word::Hit(hit)) if self.wary && !hit.object.tags.is_empty() => self.alone(request),
            Ok(Word::Hit(hit)) => Joined::Hit(hit),
            Ok(Word::Lead(lead)) => Joined::Lead(lead.of(request)),
            Ok(Word::Alone) => self.alone(request),
            Err(_) => Joined::Again,
        }
    }

    fn alone(&self, request: &impl Fields) -> Joined {
        Joined::Alone(self.cache.lead_after(&self.flight, self.miss).of(request))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.flight.lock().waiting.remove(&self.id);
    }
}

/// Reads a body while it arrives.
#[derive(Debug)]
pub struct Reader {
    flight: Arc<Flight>,
    object: Arc<Object>,
    id: u64,
    position: u64,
    miss: Miss,
}

/// The body was cut off, or this reader was too slow for one that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body that was read along was cut off")]
pub struct Broken;

impl Reader {
    pub(super) fn new(flight: Arc<Flight>, object: Arc<Object>, id: u64, miss: Miss) -> Self {
        Self {
            flight,
            object,
            id,
            position: 0,
            miss,
        }
    }

    /// Why the store had nothing whole.
    pub fn miss(&self) -> Miss {
        self.miss
    }

    /// Head and, where it is known, length.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The next bytes, as soon as there are some; `None` after the last. May be dropped at any moment.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        if let Some(found) = self.look() {
            return found;
        }
        let flight = Arc::clone(&self.flight);
        loop {
            // First listen, then look: what comes in between is not missed.
            let mut news = std::pin::pin!(flight.news.notified());
            news.as_mut().enable();
            if let Some(found) = self.look() {
                return found;
            }
            news.await;
        }
    }

    /// `None`: nothing yet.
    fn look(&mut self) -> Option<Result<Option<Bytes>, Broken>> {
        let mut state = self.flight.lock();
        match state.buffer.read(self.position) {
            Found::Bytes(bytes) => {
                self.position += bytes.len() as u64;
                state.readers.insert(self.id, self.position);
                state.read();
                Some(Ok(Some(bytes)))
            }
            Found::Forgotten => Some(Err(Broken)),
            Found::Nothing => match state.phase {
                Phase::Whole => Some(Ok(None)),
                Phase::Over => Some(Err(Broken)),
                Phase::Asked | Phase::Arriving(_) => None,
            },
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.flight.lock();
        state.readers.remove(&self.id);
        state.read();
    }
}

//! Those in this process who wait for the same thing.
//!
//! What is being fetched is known by the token in Redis, not by its name: whoever finds the token there *now* may have what its holder
//! fetches, since no write has been told to Redis since the token was given, or the token would be gone. What was begun under an earlier
//! token is too old for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::store::StoreError;

/// What is fetched: nothing where there is no such user.
pub(super) type Outcome = Result<Option<Bytes>, StoreError>;

type Waiting = watch::Receiver<Option<Outcome>>;

/// What is under way, by token.
#[derive(Default)]
pub(super) struct Flights {
    by_token: Mutex<HashMap<String, Waiting>>,
}

/// One of them, from when it may begin until it has landed or is dropped.
pub(super) struct Flight {
    flights: Arc<Flights>,
    tokens: Vec<String>,
    landing: watch::Sender<Option<Outcome>>,
}

impl Flights {
    /// One that nobody waits for yet.
    pub(super) fn open(self: &Arc<Self>) -> Flight {
        Flight {
            flights: Arc::clone(self),
            tokens: Vec::new(),
            landing: watch::Sender::new(None),
        }
    }

    fn by_token(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        // The map is whole at every moment.
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// From now on whoever finds this token waits for this flight; or the other way round, if there is one for it already.
    pub(super) fn join(&mut self, token: &str) -> Option<Others> {
        if self.tokens.iter().any(|known| known == token) {
            return None;
        }
        let mut by_token = self.flights.by_token();
        if let Some(waiting) = by_token.get(token) {
            return Some(Others(waiting.clone()));
        }
        by_token.insert(token.to_owned(), self.landing.subscribe());
        drop(by_token);
        self.tokens.push(token.to_owned());
        None
    }

    /// Nobody will find this token.
    pub(super) fn leave(&mut self, token: &str) {
        self.flights.by_token().remove(token);
        self.tokens.retain(|known| known != token);
    }

    /// It is over.
    pub(super) fn land(self, outcome: &Outcome) {
        self.landing.send_replace(Some(outcome.clone()));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut by_token = self.flights.by_token();
        for token in &self.tokens {
            by_token.remove(token);
        }
    }
}

/// A flight of somebody else.
pub(super) struct Others(Waiting);

impl Others {
    /// Where it came to; nothing when it was lost.
    pub(super) async fn landed(mut self) -> Option<Outcome> {
        let landed = self.0.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}

//! The rounds in which the notes of writes are looked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout_at};
use uuid::Uuid;

use super::Shared;
use super::lease::Rounds;
use super::link::Live;
use crate::store::{Note, Result, StoreError};

/// From the beginning of one round to that of the next.
const PERIOD: Duration = Duration::from_millis(250);
/// The least pause between two.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the primary has for all its answers, so that a lease can outlive that it gives none.
const ANSWER: Duration = Duration::from_millis(600);
/// The same while there is no lease to lose.
const PATIENCE: Duration = Duration::from_secs(2);
/// Notes that are read at once.
const BATCH: usize = 1000;
/// Notes that Redis is told of at once; it serves nobody meanwhile.
const CHUNK: usize = 100;

/// How a round ended.
enum Ended {
    /// Everything that was there has been told and removed.
    Complete,
    /// There is more.
    More,
    /// The primary does not answer.
    PrimaryAway,
    /// It did, and then no longer.
    PrimaryLost,
    /// Redis does not, or something that was found could not be told or removed.
    Failed,
}

impl Shared {
    /// One round after the other, for ever.
    pub(super) async fn rounds(&self) {
        let mut rounds = Rounds::default();
        let mut held = false;
        loop {
            let began = Instant::now();
            let ended = self.round(began).await;
            let now = Instant::now();
            // A second one is due at once where the first one could not give a lease back.
            let soon = match ended {
                Ended::Complete => !rounds.complete(&self.lease, began, now),
                Ended::More => {
                    rounds.failed();
                    true
                }
                Ended::PrimaryAway => {
                    rounds.primary_away(&self.lease, now);
                    false
                }
                Ended::PrimaryLost => {
                    rounds.primary_lost(&self.lease, now);
                    false
                }
                Ended::Failed => {
                    rounds.failed();
                    false
                }
            };
            let holds = self.lease.holds(now);
            self.held.fetch_or(holds, Ordering::Relaxed);
            if holds != std::mem::replace(&mut held, holds) {
                tracing::info!(holds, "the cache is {}", if holds { "used" } else { "not used" });
            }
            sleep(if soon {
                PAUSE
            } else {
                PAUSE.max(PERIOD.saturating_sub(began.elapsed()))
            })
            .await;
        }
    }

    async fn round(&self, began: Instant) -> Ended {
        // Without Redis there is nothing that could be trusted, and nobody to tell.
        let Some(live) = self.link.live() else { return Ended::Failed };
        let mut told = std::mem::take(&mut *self.told());
        told.sort_unstable();
        let until = began + if self.lease.holds(began) { ANSWER } else { PATIENCE };
        let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let ended = match timeout_at(until.into(), self.store.notes(limit)).await {
            Ok(Ok(notes)) => self.deliver(&live, &notes, &told, until).await,
            Ok(Err(e)) => {
                tracing::debug!("cannot look for notes: {e}");
                Ended::PrimaryAway
            }
            Err(_) => Ended::PrimaryAway,
        };
        if !matches!(ended, Ended::Complete | Ended::More) {
            self.told().extend(told);
        }
        // Also so that a connection that has died is noticed before somebody needs it.
        match live.touch().await {
            Ok(()) => ended,
            Err(e) => {
                self.failed(&live, &e);
                Ended::Failed
            }
        }
    }

    /// The primary has `until` then to do its part.
    async fn deliver(&self, live: &Arc<Live>, notes: &[Note], told: &[i64], until: Instant) -> Ended {
        self.found.store(notes.len() as u64, Ordering::Relaxed);
        let is_told = |note: &&Note| note.row.is_some_and(|row| told.binary_search(&row).is_ok());
        let untold: Vec<Note> = notes.iter().filter(|note| !is_told(note)).copied().collect();
        if !untold.is_empty() {
            let found = in_time(until, self.store.end_of_log()).await;
            // Without their place at least nothing is shown that they have outdated.
            let place = found.as_ref().ok().copied().flatten();
            for chunk in untold.chunks(CHUNK) {
                match live.invalidate(chunk, place, found.is_ok()).await {
                    Ok(done) if found.is_ok() => self.counts.told_later.add(done),
                    Ok(_) => {}
                    Err(e) => {
                        self.failed(live, &e);
                        return Ended::Failed;
                    }
                }
            }
            if let Err(ended) = found {
                return ended;
            }
        }
        let mut rows: Vec<i64> = notes.iter().filter_map(|note| note.row).chain(told.iter().copied()).collect();
        rows.sort_unstable();
        rows.dedup();
        if !rows.is_empty()
            && let Err(ended) = in_time(until, self.store.forget(&rows)).await
        {
            return ended;
        }
        // Before Redis is trusted, or the primary could go away before a read has missed the places.
        let is_new = !self.lease.holds(Instant::now());
        if (self.needs_floor.swap(false, Ordering::Relaxed) || is_new)
            && let Err(ended) = self.keep_places(live, until).await
        {
            self.needs_floor.store(true, Ordering::Relaxed);
            return ended;
        }
        if notes.len() == BATCH { Ended::More } else { Ended::Complete }
    }

    /// Has Redis keep the places of writes in the log, where there are replicas.
    async fn keep_places(&self, live: &Arc<Live>, until: Instant) -> std::result::Result<(), Ended> {
        let failed = |e| {
            self.failed(live, &e);
            Ended::Failed
        };
        if in_time(until, self.store.end_of_log()).await?.is_none() {
            return Ok(());
        }
        let token = Uuid::now_v7().simple().to_string();
        // Every write that comes to its place after this leaves it in Redis, so those before are what remains.
        if let Some(token) = live.ask_floor(&token).await.map_err(failed)?
            && let Some(place) = in_time(until, self.store.end_of_log()).await?
        {
            live.set_floor(&token, place).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// What the primary answers until then; else how the round ends.
async fn in_time<T>(until: Instant, answer: impl Future<Output = Result<T>>) -> std::result::Result<T, Ended> {
    match timeout_at(until.into(), answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(StoreError::Unavailable(_))) | Err(_) => Err(Ended::PrimaryLost),
        Ok(Err(_)) => Err(Ended::Failed),
    }
}

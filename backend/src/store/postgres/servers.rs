//! The servers of one cluster: who is asked what.
//!
//! Writes go to the primary, or are refused at once. Reads go to the replica with the least to do among those that are far enough, and from any server that
//! fails, or is silent for a moment, to the next one, in the end to the primary. Without replicas there is one server, and nobody to watch over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::access::Access;
use super::server::Server;
use crate::store::pool::DEADLINE;
use crate::store::{At, Lsn, Result, StoreError};

/// A server that is silent for so long is not waited for alone.
const MOMENT: Duration = Duration::from_millis(150);
/// Pause before all are tried again.
const PAUSE: Duration = Duration::from_millis(25);

/// Who is what, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct View {
    /// Each server was asked at least once.
    pub(super) looked: bool,
    /// Which server is written to.
    pub(super) primary: Option<usize>,
    /// There is a row of the history that it writes.
    pub(super) marked: bool,
    /// Which cluster this is; 0 while no server has answered.
    pub(super) system: i64,
    /// The highest timeline seen.
    pub(super) timeline: i64,
    /// The latest history seen.
    pub(super) history: i64,
}

/// All servers, `DATABASE_URL`'s first.
pub(super) struct Servers {
    pub(super) list: Vec<Access>,
    pub(super) view: Arc<watch::Sender<View>>,
    /// Whose turn it is among equals.
    turn: AtomicUsize,
    /// How long a read waits for a server that can answer it.
    patience: Duration,
}

/// Where a read may be done.
#[derive(Clone, Copy)]
pub(super) enum Where {
    At(At),
    /// Wherever somebody answers.
    Anywhere,
}

/// How it stands with a server, for one read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Try {
    Possible,
    UnderWay,
    Failed,
}

impl Servers {
    /// `patience`: how long a read waits for a server that can answer it.
    pub(super) fn new(list: Vec<Access>, view: Arc<watch::Sender<View>>, patience: Duration) -> Self {
        Self {
            list,
            view,
            turn: AtomicUsize::new(0),
            patience,
        }
    }

    /// The only server.
    pub(super) fn alone(&self) -> Option<&Access> {
        match self.list.as_slice() {
            [access] => Some(access),
            _ => None,
        }
    }

    pub(super) fn view(&self) -> View {
        *self.view.borrow()
    }

    /// Makes a new view of the old one.
    pub(super) fn change(&self, make: impl FnOnce(View) -> View) {
        let mut before = None;
        self.view.send_if_modified(|view| {
            let next = make(*view);
            before = (next != *view).then_some(*view);
            *view = next;
            before.is_some()
        });
        let view = self.view();
        if before.is_some_and(|before| before.primary != view.primary) {
            match view.primary.and_then(|index| self.list.get(index)) {
                Some(access) => info!("writes go to {}, timeline {}", access.server.name, view.timeline),
                None => warn!("there is no primary on timeline {}: writes are refused", view.timeline),
            }
        }
    }

    /// The view, as soon as there is one.
    pub(super) async fn looked(&self) -> View {
        self.view_when(|view| view.looked).await
    }

    /// The view, as soon as it is so, or after a while.
    async fn view_when(&self, is_so: impl Fn(&View) -> bool) -> View {
        let view = self.view();
        if is_so(&view) {
            return view;
        }
        let mut views = self.view.subscribe();
        // Whoever has not answered by then does not take part.
        let _ = timeout(self.patience, views.wait_for(is_so)).await;
        self.view()
    }

    pub(super) fn primary(&self, view: View) -> Result<(usize, &Access)> {
        let access = view.primary.and_then(|index| Some((index, self.list.get(index)?)));
        access.ok_or_else(|| StoreError::Unavailable("there is no primary".into()))
    }

    /// Gives up when `index` is no longer the primary.
    pub(super) async fn while_primary<T>(&self, index: usize, statement: impl Future<Output = Result<T>>) -> Result<T> {
        let mut views = self.view.subscribe();
        tokio::select! {
            biased;
            outcome = statement => outcome,
            _ = views.wait_for(|view| view.primary != Some(index)) => Err(StoreError::Unavailable("the primary went away".into())),
        }
    }

    pub(super) async fn write<T>(&self, statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        // What is written before there is a row of the history could not be told from what an old primary has at the same place of its log.
        let view = self.view_when(|view| view.looked && (view.marked || view.primary.is_none())).await;
        let (index, access) = self.primary(view)?;
        let server = &access.server;
        if !view.marked {
            return Err(StoreError::Unavailable(format!("{} has no row of its history yet", server.name)));
        }
        let outcome = self.while_primary(index, access.write(view, statement)).await;
        match outcome {
            Ok(Some(value)) => return Ok(value),
            // Also what a primary says that has become a standby.
            Ok(None) | Err(StoreError::Unavailable(_)) => server.wanted.notify_one(),
            Err(_) => {}
        }
        outcome?.ok_or_else(|| StoreError::Unavailable(format!("{} is not the primary", server.name)))
    }

    pub(super) async fn read_in_time<T>(
        &self,
        place: Where,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone,
    ) -> Result<T> {
        let too_slow = |_| Err(StoreError::Unavailable(format!("no answer within {DEADLINE:?}")));
        timeout(DEADLINE, self.read(place, statement)).await.unwrap_or_else(too_slow)
    }

    async fn read<T>(&self, place: Where, statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone) -> Result<T> {
        let started = Instant::now();
        self.looked().await;
        let mut tries = vec![Try::Possible; self.list.len()];
        let mut under_way = FuturesUnordered::new();
        let mut failure = None;
        loop {
            let view = self.view();
            if let Some((index, access)) = self.next(place, view, &tries) {
                if let Some(one) = tries.get_mut(index) {
                    *one = Try::UnderWay;
                }
                let statement = statement.clone();
                under_way.push(async move { (index, access, self.ask(index, access, place, view, statement).await) });
            } else {
                // Those who failed may be better now.
                tries
                    .iter_mut()
                    .filter(|one| **one == Try::Failed)
                    .for_each(|one| *one = Try::Possible);
                if under_way.is_empty() {
                    if started.elapsed() >= self.patience {
                        return Err(failure.unwrap_or_else(|| StoreError::Unavailable("no server is far enough".into())));
                    }
                    self.list.iter().for_each(|access| access.server.wanted.notify_one());
                    sleep(PAUSE).await;
                    continue;
                }
            }
            tokio::select! {
                Some((index, Access { server, .. }, outcome)) = under_way.next() => {
                    let primary = view.primary == Some(index);
                    match outcome {
                        Ok(Some(value)) => return Ok(value),
                        Ok(None) => server.wanted.notify_one(),
                        Err(e @ StoreError::Unavailable(_)) => {
                            failure = Some(e);
                            server.doubt();
                        }
                        Err(e) if primary => return Err(e),
                        Err(e) => failure = Some(e),
                    }
                    if let Some(one) = tries.get_mut(index) {
                        *one = Try::Failed;
                    }
                }
                () = sleep(MOMENT) => {
                    for (Access { server, .. }, one) in self.list.iter().zip(&tries) {
                        if *one == Try::UnderWay && !server.was_heard_within(MOMENT) {
                            server.doubt();
                        }
                    }
                }
            }
        }
    }

    async fn ask<T>(
        &self,
        index: usize,
        access: &Access,
        place: Where,
        view: View,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone,
    ) -> Result<Option<T>> {
        match place {
            Where::Anywhere => access.read_any(statement).await,
            Where::At(At::Replayed(needed)) if view.primary != Some(index) => access.read_replayed(needed, view, statement).await,
            // Somebody else has written to a later primary, which is not known here yet.
            Where::At(At::Replayed(needed)) if needed.history > view.history => Ok(None),
            Where::At(_) => self.while_primary(index, access.read_newest(view, statement)).await,
        }
    }

    /// Whom to ask now.
    fn next(&self, place: Where, view: View, tries: &[Try]) -> Option<(usize, &Access)> {
        let possible = |index: usize| tries.get(index) == Some(&Try::Possible);
        let primary = self.primary(view).ok().filter(|(index, _)| possible(*index));
        let replica = |enough: &dyn Fn(&Server, Lsn) -> bool| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            (0..self.list.len())
                .map(|index| turn.wrapping_add(index) % self.list.len())
                .filter(|index| possible(*index) && view.primary != Some(*index))
                .filter_map(|index| Some((index, self.list.get(index)?)))
                .filter(|(_, Access { server, .. })| server.replica(view).is_some_and(|place| enough(server, place)))
                .min_by_key(|(_, access)| access.server.load())
        };
        match place {
            Where::At(At::Primary) => primary,
            Where::Anywhere => primary.or_else(|| replica(&|_, _| true)),
            Where::At(At::Replayed(needed)) => replica(&|server, place| {
                if place < needed {
                    // For the next one who asks.
                    server.wanted.notify_one();
                }
                place >= needed
            })
            .or(primary),
        }
    }
}

//! How many checks are at their beginning at once.
//!
//! A check costs most when it begins: a socket, a handshake, a request. With thousands of servers those beginnings would come in bursts
//! that requests could feel, so they share a number of places. A check that hangs costs nothing but memory, and must not keep the others
//! waiting: it gives its place away after a moment and goes on without. There is one check a server under way at most, so what hangs is
//! bounded, too.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Checks at their beginning at once, in the process.
const PLACES: usize = 64;
/// How long a check may keep its place. A thousand that hang make each other wait for less than half a second.
const MOMENT: Duration = Duration::from_millis(25);

/// See the module.
#[derive(Debug)]
pub(in crate::upstream) struct Pace(Semaphore);

impl Default for Pace {
    fn default() -> Self {
        Self(Semaphore::new(PLACES))
    }
}

impl Pace {
    /// Awaits a check, which begins when there is a place for it.
    pub(super) async fn run<T>(&self, check: impl Future<Output = T>) -> T {
        // Never closed; if it were, checks had better go on.
        let place = self.0.acquire().await.ok();
        let mut check = pin!(check);
        match timeout(MOMENT, &mut check).await {
            Ok(done) => done,
            Err(_) => {
                drop(place);
                check.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn quick_checks_are_never_more_than_there_are_places() {
        let (pace, now, most) = (Pace::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let check = || async {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(Duration::from_millis(5)).await;
            now.fetch_sub(1, Ordering::Relaxed);
        };
        join_all((0..1_000).map(|_| pace.run(check()))).await;
        assert_eq!(most.into_inner(), PLACES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_that_hang_delay_the_next_by_less_than_half_a_second() {
        let pace = Pace::default();
        let start = Instant::now();
        let hanging = join_all((0..1_000).map(|_| pace.run(sleep(Duration::from_secs(10)))));
        let quick = async {
            // The others have queued up by then.
            sleep(Duration::from_millis(1)).await;
            pace.run(sleep(Duration::from_millis(5))).await;
            start.elapsed()
        };
        let (_, took) = tokio::join!(hanging, quick);
        assert!(took < Duration::from_millis(500), "{took:?}");
        let whole = start.elapsed();
        assert!(
            whole < Duration::from_secs(11),
            "they hang at once, not one after the other: {whole:?}"
        );
    }
}

//! A timer that costs nothing while all is well.
//!
//! A kept-alive connection gets a new deadline with every request, and hardly ever meets one. So the timer is not moved when the deadline moves
//! on: it fires when it was set to, sees that there is time left, and only then is set again.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of a connection.
#[derive(Debug, Default)]
pub(super) struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// Ready once `at` has passed; wakes the task then, and perhaps earlier.
    pub(super) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}

/// That long after an instant. A time beyond the clock's range is as good as none.
pub(super) fn after(start: Instant, wait: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    start + wait.min(YEARS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn a_deadline_may_move_both_ways_and_passes_when_it_should() {
        let start = Instant::now();
        let mut deadline = Deadline::default();
        let mut poll = async |at: u64| {
            let at = start + Duration::from_millis(at);
            poll_fn(|cx| Poll::Ready(deadline.poll(at, cx).is_ready())).await
        };
        assert!(!poll(5_000).await);
        assert!(!poll(50).await);
        assert!(!poll(60_000).await);
        poll_fn(|cx| deadline.poll(start + Duration::from_millis(80), cx)).await;
        let passed = start.elapsed();
        assert!(passed >= Duration::from_millis(80) && passed < Duration::from_secs(3), "{passed:?}");
    }

    #[test]
    fn an_endless_wait_does_not_overflow() {
        assert!(after(Instant::now(), Duration::MAX) > Instant::now());
    }
}

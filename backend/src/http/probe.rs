//! Questions about the database's health, each asked once however many want to know at the same time.
//!
//! The store keeps one connection for them, so that they never wait behind requests: a server that is only busy would look dead else, and be sent nothing by
//! whoever balances the load. They must not wait behind each other either.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::time::timeout;

use crate::store::Result;

/// How long the database has to answer. Whoever asks is asking often, and would rather have a no than wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// The answer, or why there is none.
type Answer<T> = std::result::Result<T, String>;
type Asking<T> = BoxFuture<'static, Answer<T>>;

/// One question.
pub(super) struct Probe<T> {
    under_way: Mutex<Option<WeakShared<Asking<T>>>>,
}

impl<T> Default for Probe<T> {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Probe<T> {
    /// The answer to a question that is under way, else to this one. It is there in time, as the database's or as a no.
    pub(super) async fn ask(&self, question: impl Future<Output = Result<T>> + Send + 'static) -> Answer<T> {
        self.join(question).await
    }

    fn join(&self, question: impl Future<Output = Result<T>> + Send + 'static) -> Shared<Asking<T>> {
        // Whole at every moment.
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is answered may still be held by somebody who has not looked yet.
        let joined = under_way
            .as_ref()
            .and_then(WeakShared::upgrade)
            .filter(|asking| asking.peek().is_none());
        joined.unwrap_or_else(|| {
            let asking = in_time(question).boxed().shared();
            *under_way = asking.downgrade();
            asking
        })
    }
}

async fn in_time<T>(question: impl Future<Output = Result<T>>) -> Answer<T> {
    match timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::{join_all, pending};
    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn those_who_ask_at_the_same_time_share_an_answer_and_later_ones_do_not() {
        let (probe, asked, answered) = (Probe::default(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (asked, answered) = (Arc::clone(&asked), Arc::clone(&answered));
            probe.ask(async move {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                answered.notified().await;
                Ok(number)
            })
        };
        for number in 0..2 {
            // Once all of them have asked.
            let (answers, ()) = futures::join!(join_all((0..10).map(|_| ask())), async { answered.notify_one() });
            assert_eq!(answers, vec![Ok(number); 10]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_joins_late_waits_no_longer_than_the_first_one() {
        let probe = Probe::<()>::default();
        let began = Instant::now();
        let late = async {
            tokio::time::sleep(PATIENCE - Duration::from_millis(100)).await;
            probe.ask(async { Ok(()) }).await
        };
        let (first, late) = tokio::join!(probe.ask(pending()), late);
        assert!(first.is_err() && late.is_err());
        assert_eq!(began.elapsed(), PATIENCE);
        assert_eq!(probe.ask(async { Ok(()) }).await, Ok(()));
    }

    #[tokio::test]
    async fn a_question_whose_askers_went_away_is_asked_anew() {
        let probe = Probe::<()>::default();
        assert_eq!(probe.ask(pending()).now_or_never(), None);
        assert_eq!(probe.ask(async { Ok(()) }).await, Ok(()));
    }
}

//! Waiting for conditions.
//!
//! A fixed sleep is either too short on a busy machine or too long on every other one. Here a condition is asked again and again until it
//! holds; only a test that fails waits for the whole deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything may take that should happen at once. It is only ever used up by a test that fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at a condition.
const STEP: Duration = Duration::from_millis(10);

/// Waits until `holds` says true; fails the test after [`DEADLINE`].
pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    until_within(DEADLINE, what, holds).await;
}

/// Waits until `holds` says true; fails the test after `deadline`.
pub async fn until_within(deadline: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    until_some(deadline, what, async || holds().await.then_some(())).await;
}

/// Waits until `probe` finds something; fails the test after `deadline`.
pub async fn until_some<T>(deadline: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        sleep(STEP).await;
    }
}

/// Asks again and again for `time` whether `holds`, and fails the test the first time that it does not.
pub async fn throughout(time: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert!(holds().await, "did not hold for {time:?}: {what}");
        sleep(STEP).await;
    }
}

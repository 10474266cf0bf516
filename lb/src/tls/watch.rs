//! Has certificates read again when their files change.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Tls;
use crate::watched::EVERY;

/// Between two warnings of a certificate's end.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Looks at the files of what `current` gives, for as long as it is polled. What has changed is taken at the second look that sees it. A reload gives something else from then on.
pub async fn watch(current: impl Fn() -> Arc<Tls>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = Instant::now();
    loop {
        ticks.tick().await;
        let tls = current();
        if warned.elapsed() >= DAY {
            warned = Instant::now();
            tls.warn_of_expiry();
        }
        if !tls.listeners().is_empty() {
            // A file system may be slow, or gone.
            let looked = tokio::task::spawn_blocking(move || tls.look()).await;
            if let Err(error) = looked {
                tracing::error!(%error, "looking for changed certificates failed");
            }
        }
    }
}

impl Tls {
    /// Looks once whether files have changed, and loads those anew that say the same as at the last look. Blocks, as reading files does.
    pub fn look(&self) {
        for listener in self.listeners() {
            listener.look();
        }
    }
}

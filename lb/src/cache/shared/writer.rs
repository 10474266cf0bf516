//! Tells the others what was purged here, and waits for them where that was asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_config::Redis;
use redis::RedisResult;

use super::fence::Fence;
use super::link::Link;
use super::log;
use super::outbox::Batch;
use crate::cache::Cache;

/// Between two looks whether the others have done it: at first, and at most.
const LOOK: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(20));
/// Between two tries to connect: at least, and where nobody waits.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// What it has in hand.
struct Writer {
    cache: Arc<Cache>,
    me: String,
    /// `None`: nobody waits.
    fence: Option<Fence>,
    /// Not yet in the log.
    batch: Option<Batch>,
    link: Option<Link>,
    look: Duration,
}

/// Goes on for as long as this `lb` shares with others.
pub(super) async fn run(cache: Arc<Cache>, redis: Redis, me: String, waits: bool) {
    let fence = waits.then(|| Fence::new(&me));
    let mut writer = Writer {
        cache,
        me,
        fence,
        batch: None,
        link: None,
        look: LOOK.0,
    };
    loop {
        let (had_link, last) = (writer.link.is_some(), writer.cache.shared.outbox.last());
        if let Err(error) = writer.step(&redis).await {
            writer.cache.shared.failed(&error, "others do not hear of purges");
            writer.failed(last);
            // A connection that has been idle for long may have been closed: then another one does.
            if !had_link {
                writer.pause().await;
            }
        }
    }
}

impl Writer {
    async fn step(&mut self, redis: &Redis) -> RedisResult<()> {
        let cache = Arc::clone(&self.cache);
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let mut link = Link::connect(redis).await?;
                if self.fence.is_some() {
                    // From now on the leases of a life of the log that is over are waited out.
                    self.look(&mut link).await?;
                }
                link
            }
        };
        self.batch = self.batch.take().or_else(|| cache.shared.outbox.take());
        if let Some(batch) = &self.batch {
            let (epoch, number) = log::append(&mut link, &self.me, &batch.message).await?;
            cache.shared.counts.purges_told.add(1);
            match &mut self.fence {
                Some(fence) => fence.appended(Instant::now(), epoch, number, batch.ticket),
                None => cache.shared.outbox.finish(batch.ticket),
            }
            self.batch = None;
            self.look = LOOK.0;
        }
        if self.fence.as_ref().is_some_and(Fence::waits) {
            tokio::select! {
                () = cache.shared.outbox.wait() => {}
                () = tokio::time::sleep(self.look) => self.look(&mut link).await?,
            }
        } else {
            cache.shared.outbox.wait().await;
        }
        self.link = Some(link);
        Ok(())
    }

    async fn look(&mut self, link: &mut Link) -> RedisResult<()> {
        let Some(fence) = &mut self.fence else { return Ok(()) };
        let lapsed = fence.lapsed(Instant::now());
        let (epoch, leases) = log::look(link, &lapsed).await?;
        if let Some(ticket) = fence.looked(Instant::now(), &epoch, &leases) {
            self.cache.shared.outbox.finish(ticket);
        }
        self.look = (self.look * 2).min(LOOK.1);
        Ok(())
    }

    /// A try has failed that began when `last` was the last ticket. If nobody can have had a lease then, whoever gets one later drops what
    /// was stored before, and these tickets need not wait. Later ones need another try that fails.
    fn failed(&mut self, last: u64) {
        let Some(fence) = &mut self.fence else { return };
        if fence.failed(Instant::now()) {
            self.cache.shared.outbox.finish(last);
        }
    }

    /// Waits for a while, or until somebody waits for a try.
    async fn pause(&self) {
        tokio::time::sleep(PAUSE.0).await;
        let more = PAUSE.1 - PAUSE.0;
        match self.fence {
            Some(_) => drop(tokio::time::timeout(more, self.cache.shared.outbox.wait()).await),
            None => tokio::time::sleep(more).await,
        }
    }
}

//! Servers that come and go: the same configuration over other servers, without a reload.
//!
//! What changes is what a reload would change if the file had named these servers: requests under way keep the snapshot and the lease that
//! they have, so those on a server that is gone end as they would have; what is known of a server that stays stays; checks and counters of
//! new servers begin, and those of servers that are gone end.

use std::sync::Arc;

use super::reload::settle;
use crate::proxy::Proxy;

/// Replaces the snapshot whenever servers have changed, for as long as it is polled.
pub(super) async fn rediscover(proxy: Arc<Proxy>) {
    loop {
        proxy.discovery.changed().await;
        let _alone = proxy.reloading.lock().await;
        // A reload that came first may have taken them along.
        let snapshot = match proxy.snapshot().again(&proxy.registry, &proxy.metrics) {
            Some(snapshot) => {
                let snapshot = Arc::new(snapshot);
                proxy.replace_servers(snapshot.clone());
                snapshot
            }
            None => proxy.snapshot(),
        };
        settle(&proxy, &snapshot);
    }
}

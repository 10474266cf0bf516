//! Signals: TERM and INT end the process gracefully, HUP reloads, USR1 opens log files anew, USR2 has no hand-over to start yet.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload;
use crate::proxy::Proxy;

/// The signals that the process handles.
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    /// Handles them from now on.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Resolves when one says stop.
    pub async fn stopped(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// Does what they say until one says stop.
    pub async fn until_stopped(&mut self, proxy: &Arc<Proxy>) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                _ = self.hup.recv() => {
                    let proxy = proxy.clone();
                    // The outcome is logged and counted where it is made. A slow one must not keep the next signal waiting.
                    tokio::spawn(async move { proxy.reload().await.is_ok() });
                }
                _ = self.usr1.recv() => reopen(proxy),
                _ = self.usr2.recv() => tracing::warn!("SIGUSR2 is ignored: handing over to a new binary is not supported by this version"),
            }
        }
    }
}

fn reopen(proxy: &Proxy) {
    proxy.snapshot().access_log.reopen();
    tracing::info!("access log opened anew");
}

impl Proxy {
    /// Reloads the file, one reload at a time.
    ///
    /// # Errors
    /// See [`reload::reload`].
    pub async fn reload(self: &Arc<Self>) -> Result<reload::Changes, reload::ReloadError> {
        let _one = self.reloading.lock().await;
        reload::reload(self).await
    }
}

//! What pingora asks of a connection besides reading and writing.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use ::pingora::http::ResponseHeader;
use ::pingora::protocols::raw_connect::ProxyDigest;
use ::pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID, UniqueIDType,
};
use async_trait::async_trait;
use tokio::io::AsyncWriteExt;

use super::ClientStream;

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // It fails where the client is gone already, which is as good.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.io.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}

impl Ssl for ClientStream {
    /// A connection that began with the preface of HTTP/2 goes on as if that had been negotiated.
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.is_http2().then_some(ALPN::H2)
    }
}

#[async_trait]
impl Peek for ClientStream {
    /// Only what was read already can be looked at: the preface of HTTP/2.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let Some(start) = self.inbox.get(..buf.len()) else {
            return Ok(false);
        };
        buf.copy_from_slice(start);
        Ok(true)
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    /// Of no proxy: it is the one place where pingora lets something be kept for whoever works on the requests of an HTTP/2 connection.
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        let handshake = self.handshake.clone()?;
        let response = ResponseHeader::build(200, None).ok()?;
        Some(Arc::new(ProxyDigest::new(Box::new(response), Some(Box::new(handshake)))))
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

//! Watching the client while the request waits for something else.

use std::future::{Future, pending};

use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

/// What `waited_for` gives, unless the client leaves before.
///
/// # Errors
/// The client has left. A client whose body is still to come is not watched over HTTP/1.1: its body would have to be read, and nobody is
/// there yet to take it.
pub(super) async fn unless_gone<T>(session: &mut Session, waited_for: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        result = waited_for => Ok(result),
        error = gone(session) => Err(error),
    }
}

async fn gone(session: &mut Session) -> Box<Error> {
    let client = session.as_downstream_mut();
    if let Some(closed) = client.watch_h2_stream_close() {
        return closed
            .await
            .map_or_else(Error::into_down, |_| Error::new_down(ErrorType::ConnectionClosed));
    }
    if !client.is_body_empty() && !client.is_body_done() {
        return pending().await;
    }
    match client.read_body_or_idle(true).await {
        Err(error) => error.into_down(),
        Ok(_) => Error::new_down(ErrorType::ConnectionClosed),
    }
}

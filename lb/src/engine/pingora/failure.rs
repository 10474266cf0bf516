//! pingora's errors as the exchange's failures.

use pingora::{Error, ErrorSource, ErrorType};

use crate::exchange::Failure;
use crate::reject::Refusal;

/// Why there is no connection.
pub(super) fn connecting(error: &Error) -> Failure {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Failure::ConnectTimeout,
        _ => Failure::Connect,
    }
}

/// Why a connection gave no answer; `None`: the server is not to blame.
pub(super) fn answering(error: &Error) -> Option<Failure> {
    if *error.esource() != ErrorSource::Upstream {
        return None;
    }
    Some(match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::Timeout,
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::InvalidH2 => Failure::Invalid,
        _ => Failure::Reset,
    })
}

/// What the client is told where it is to blame itself; `None`: it is gone.
pub(super) fn client(error: &Error) -> Option<Refusal> {
    match error.etype() {
        ErrorType::ReadTimedout => Some(Refusal::RequestTimeout),
        ErrorType::WriteTimedout | ErrorType::ConnectionClosed | ErrorType::WriteError => None,
        ErrorType::ReadError => malformed(error).then_some(Refusal::BadRequest("the request's body is malformed")),
        _ => Some(Refusal::BadRequest("the request is malformed")),
    }
}

/// Whether reading failed because of what was read: the client stream says so by the error's kind.
fn malformed(error: &Error) -> bool {
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::InvalidData)
}

//! pingora's errors as the exchange's failures.

use pingora::{Error, ErrorSource, ErrorType};

use crate::exchange::{Exchange, Failure, Next, Sent};
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
        ErrorType::ReadTimedout => Some(Refusal::RequestTimeout("The request's body did not arrive in time.")),
        ErrorType::WriteTimedout | ErrorType::ConnectionClosed | ErrorType::WriteError | ErrorType::ReadError => None,
        _ => Some(Refusal::BadRequest("The request is malformed.")),
    }
}

/// Tells of a failure. Whether the request is sent once more; if not, it is refused.
pub(super) fn goes_on(exchange: &mut Exchange, failure: Failure, sent: Sent) -> bool {
    match exchange.failed(failure, sent) {
        Next::Again => true,
        Next::GiveUp(refusal) => {
            exchange.refuse(refusal);
            false
        }
    }
}

//! pingora's errors as the exchange's failures.

use pingora::{Error, ErrorSource, ErrorType};

use crate::cache::Hit;
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

/// Tells of a failure. Whether the request is sent once more; if not, it is refused, or `instead` is what it gets.
pub(super) fn goes_on(exchange: &mut Exchange, failure: Failure, sent: Sent, instead: &mut Option<Hit>) -> bool {
    match exchange.failed(failure, sent) {
        Next::Again => true,
        Next::GiveUp(refusal) => {
            give_up(exchange, refusal, instead);
            false
        }
    }
}

/// No server is left to ask: what is stored stands in, if it may.
pub(super) fn give_up(exchange: &mut Exchange, refusal: Refusal, instead: &mut Option<Hit>) {
    *instead = exchange.stale();
    if instead.is_none() {
        exchange.refuse(refusal);
    }
}

//! Whose turn it is: a server is asked now, or later, or not at all.
//!
//! A request may have to wait before a server can take it: until another request has made room, or until a moment has passed. The exchange
//! decides that it waits and for what; the engine awaits [`Wait::over`], watching the client meanwhile, and then asks
//! [`Exchange::server`](super::Exchange::server) again. All that the waiting is about stays with the exchange: an engine that stops waiting
//! just drops the [`Wait`], and owes nothing.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Instant;

use crate::reject::Refusal;
use crate::upstream::{Place, Server};

/// What an engine that needs a server does next.
#[derive(Debug)]
#[must_use]
pub enum Turn {
    /// Ask this server.
    Ask(Arc<Server>),
    /// Wait until this is over, then ask for a server again.
    Wait(Wait),
    /// Tell the client.
    Refuse(Refusal),
}

/// Something to wait for before [`Exchange::server`](super::Exchange::server) is asked again.
#[derive(Debug)]
#[must_use = "the request waits only while somebody awaits this"]
pub struct Wait {
    until: Instant,
    place: Option<Arc<Place>>,
}

impl Wait {
    /// Waits for a moment.
    pub fn until(moment: Instant) -> Wait {
        Wait {
            until: moment,
            place: None,
        }
    }

    /// Waits for a server, until this moment at most.
    pub(super) fn for_server(place: &Arc<Place>, until: Instant) -> Wait {
        Wait {
            until,
            place: Some(place.clone()),
        }
    }

    /// Returns when the waiting is over. It may be dropped at any time before.
    pub async fn over(self) {
        let mut alarm = pin!(tokio::time::sleep_until(self.until.into()));
        poll_fn(|cx| {
            loop {
                let mut look = None;
                if let Some(place) = &self.place {
                    if place.poll(cx).is_ready() {
                        return Poll::Ready(());
                    }
                    look = place.next_look();
                }
                let wake = look.map_or(self.until, |look| look.min(self.until)).into();
                if alarm.deadline() != wake {
                    alarm.as_mut().reset(wake);
                }
                ready!(alarm.as_mut().poll(cx));
                if wake == self.until.into() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_over_at_its_moment() {
        let start = tokio::time::Instant::now();
        let second = Duration::from_secs(1);
        Wait::until((start + second).into_std()).over().await;
        assert!((second..second * 2).contains(&start.elapsed()));
    }
}

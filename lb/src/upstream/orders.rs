//! What an operator has said about a server while `lb` runs.
//!
//! Orders belong to the server's live state, so they outlive reloads. They end when the file itself says something new about the server:
//! who edits a file means what it says. For that each server remembers what the configuration in force says of it
//! ([`Standing orders`](Orders)), and [`Orders::agree`] compares when a new one comes into force.

use super::resolve::ResolvedServer;
use super::standing::Duty;

/// A change that an operator wants. What is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Order {
    /// What the server shall do.
    pub duty: Option<Duty>,
    /// Its share from now on, as in the file: 0 to 65535.
    pub weight: Option<u32>,
}

/// What has been ordered, and what the file says beside.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) duty: Duty,
    /// In place of the file's.
    pub(super) weight: Option<u32>,
    /// What the configuration in force says of the server; `None`: it has none of it.
    said: Option<ResolvedServer>,
}

impl Orders {
    /// Takes a change on.
    pub(super) fn take(&mut self, order: Order) {
        self.duty = order.duty.unwrap_or(self.duty);
        self.weight = order.weight.or(self.weight);
    }

    /// What the configuration that is now in force says of the server. Whether that ended an order.
    pub(super) fn agree(&mut self, said: Option<&ResolvedServer>) -> bool {
        // What its certificate is called is a matter of the whole upstream.
        let said = said.map(|said| ResolvedServer {
            tls_name: None,
            ..said.clone()
        });
        let ended = self.said != said && self.stand();
        if ended {
            (self.duty, self.weight) = (Duty::Ready, None);
        }
        self.said = said;
        ended
    }

    fn stand(&self) -> bool {
        self.duty != Duty::Ready || self.weight.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::ip;
    use super::*;

    fn said(weight: u32) -> ResolvedServer {
        ResolvedServer {
            address: ip("10.0.0.1:80"),
            weight,
            max_connections: None,
            backup: false,
            tls_name: None,
        }
    }

    #[test]
    fn an_order_stands_until_the_file_says_something_new() {
        let mut orders = Orders::default();
        orders.agree(Some(&said(1)));
        orders.take(Order {
            duty: Some(Duty::Drain),
            weight: None,
        });
        orders.take(Order {
            duty: None,
            weight: Some(7),
        });
        assert!(!orders.agree(Some(&said(1))));
        assert_eq!((orders.duty, orders.weight), (Duty::Drain, Some(7)));
        let renamed = ResolvedServer {
            tls_name: Some("users".into()),
            ..said(1)
        };
        assert!(!orders.agree(Some(&renamed)));
        assert!(orders.agree(Some(&said(2))));
        assert_eq!((orders.duty, orders.weight), (Duty::Ready, None));
        assert!(!orders.agree(Some(&said(3))), "there was nothing to end");
    }

    #[test]
    fn a_server_that_leaves_the_file_takes_its_orders_along() {
        let mut orders = Orders::default();
        orders.agree(Some(&said(1)));
        orders.take(Order {
            duty: Some(Duty::Down),
            weight: None,
        });
        assert!(orders.agree(None));
        assert!(!orders.agree(Some(&said(1))));
        assert_eq!(orders.duty, Duty::Ready);
    }
}

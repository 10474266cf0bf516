//! Failed logins, counted for the address that they come from and for the account that they aim at.
//!
//! Only failures count: however often one logs in, nobody has to wait. A window of time begins with the first failure; when there were as
//! many as are allowed, all further tries within the window are refused, also those with the right password, or the answer would
//! tell which one it is. The counters are shared by all servers.

use std::net::IpAddr;
use std::time::Duration;

use super::Refusal;
use crate::store::{Failures, Sessions};
use crate::users::Email;

/// How long failures are remembered.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Failures of one account within the window.
pub const OF_ACCOUNT: i64 = 10;
/// Failures from one address within the window: more, since many may share one.
pub const FROM_ADDRESS: i64 = 50;

/// The counters that one login has to do with.
pub struct Limits {
    keys: Vec<String>,
}

impl Limits {
    /// Those of an address, and of an account when there is one to be named.
    pub fn of(from: IpAddr, account: Option<&Email>) -> Self {
        let account = account.map(|email| format!("account:{}", email.as_str().to_ascii_lowercase()));
        Self {
            keys: [Some(format!("address:{}", network(from))), account]
                .into_iter()
                .flatten()
                .collect(),
        }
    }

    /// Refuses when a limit is reached.
    pub async fn check(&self, sessions: &dyn Sessions) -> Result<(), Refusal> {
        wait(&sessions.failures(&self.keys).await?, 0)
    }

    /// Counts a failure; refuses when it is one too many.
    pub async fn failed(&self, sessions: &dyn Sessions) -> Result<(), Refusal> {
        wait(&sessions.failed(&self.keys, WINDOW).await?, 1)
    }

    /// The password was right: refuses all the same when others have failed too often meanwhile, else the account's failures are forgotten. Those
    /// of the address are not, or whoever has an account could guess at others' for ever.
    pub async fn passed(&self, sessions: &dyn Sessions) -> Result<(), Refusal> {
        let failures = sessions.failures(&self.keys).await?;
        wait(&failures, 0)?;
        for one in failures.iter().filter(|one| one.key.starts_with("account:") && one.count > 0) {
            sessions.forgive(&one.key).await?;
        }
        Ok(())
    }
}

/// Whether one of these is at its limit. `own` of the counted failures are the caller's, who is still to have an answer.
fn wait(failures: &[Failures], own: i64) -> Result<(), Refusal> {
    let over = failures.iter().filter(|one| {
        let most = if one.key.starts_with("account:") {
            OF_ACCOUNT
        } else {
            FROM_ADDRESS
        };
        one.count - own >= most
    });
    match over.map(|one| one.ends_in).max() {
        Some(ends_in) => Err(Refusal::TooMany(ends_in)),
        None => Ok(()),
    }
}

/// One customer's addresses: in IPv6, a whole /64.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(key: &str, count: i64) -> Failures {
        Failures {
            key: key.into(),
            count,
            ends_in: Duration::from_secs(60),
        }
    }

    #[test]
    fn the_tenth_failure_is_answered_and_the_eleventh_is_not() {
        assert!(wait(&[failures("account:a", 9)], 0).is_ok(), "the tenth may be tried");
        assert!(wait(&[failures("account:a", 10)], 1).is_ok(), "the tenth has failed, and hears so");
        assert!(wait(&[failures("account:a", 10)], 0).is_err(), "no other is tried");
        assert!(
            wait(&[failures("account:a", 11)], 1).is_err(),
            "one that ran at the same time hears nothing"
        );
        assert!(wait(&[failures("address:a", 49), failures("account:a", 9)], 0).is_ok());
        assert!(wait(&[failures("address:a", 50)], 0).is_err());
    }

    #[test]
    fn a_customers_addresses_are_one() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}

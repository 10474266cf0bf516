//! `Cache-Status` (RFC 9211): what the cache did with a request, for whoever reads the answer's head.
//!
//! Every value but a hit's is a constant; a hit's has its time to live in it, and is written on the stack.

use http::HeaderName;

/// The field. Caches nearer to the origin have written their members already, so that ours is added behind them.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request was not answered from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// Nothing is stored for its key.
    Uri,
    /// What is stored is for other request fields.
    Vary,
    /// What is stored is not fresh any more.
    Stale,
}

/// What the cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Answered from the store; fresh for so many more seconds.
    Hit(u64),
    /// Fetched from the origin.
    Fetched {
        /// Why.
        miss: Miss,
        /// Whether the answer is stored.
        stored: bool,
        /// Whether it first waited, in vain, for what another request fetched.
        waited: bool,
    },
    /// Answered by what another request fetched.
    Collapsed(Miss),
    /// Neither `GET` nor `HEAD`.
    Method,
    /// The request went past the cache.
    Bypass,
}

impl Status {
    /// The label in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit(_) => "hit",
            Self::Fetched { .. } | Self::Collapsed(_) => "miss",
            Self::Method | Self::Bypass => "bypass",
        }
    }

    /// Gives the field's value to `write`.
    pub fn tell<T>(self, write: impl FnOnce(&[u8]) -> T) -> T {
        let text = match self {
            Self::Hit(ttl) => return hit(ttl, write),
            Self::Fetched { miss, stored, waited } => fetched(miss, stored, waited),
            Self::Collapsed(Miss::Uri) => "lb; fwd=uri-miss; collapsed",
            Self::Collapsed(Miss::Vary) => "lb; fwd=vary-miss; collapsed",
            Self::Collapsed(Miss::Stale) => "lb; fwd=stale; collapsed",
            Self::Method => "lb; fwd=method",
            Self::Bypass => "lb; fwd=bypass",
        };
        write(text.as_bytes())
    }
}

fn fetched(miss: Miss, stored: bool, waited: bool) -> &'static str {
    match (miss, stored, waited) {
        (Miss::Uri, true, false) => "lb; fwd=uri-miss; stored",
        (Miss::Vary, true, false) => "lb; fwd=vary-miss; stored",
        (Miss::Stale, true, false) => "lb; fwd=stale; stored",
        (Miss::Uri, false, false) => "lb; fwd=uri-miss",
        (Miss::Vary, false, false) => "lb; fwd=vary-miss",
        (Miss::Stale, false, false) => "lb; fwd=stale",
        (Miss::Uri, true, true) => "lb; fwd=uri-miss; stored; collapsed=?0",
        (Miss::Vary, true, true) => "lb; fwd=vary-miss; stored; collapsed=?0",
        (Miss::Stale, true, true) => "lb; fwd=stale; stored; collapsed=?0",
        (Miss::Uri, false, true) => "lb; fwd=uri-miss; collapsed=?0",
        (Miss::Vary, false, true) => "lb; fwd=vary-miss; collapsed=?0",
        (Miss::Stale, false, true) => "lb; fwd=stale; collapsed=?0",
    }
}

fn hit<T>(ttl: u64, write: impl FnOnce(&[u8]) -> T) -> T {
    const BEFORE: &[u8] = b"lb; hit; ttl=";
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(ttl).as_bytes();
    // 20 digits at most.
    let mut text = [0; BEFORE.len() + 20];
    let length = BEFORE.len() + digits.len();
    text[..BEFORE.len()].copy_from_slice(BEFORE);
    text[BEFORE.len()..length].copy_from_slice(digits);
    write(&text[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_members_of_rfc_9211() {
        let statuses = [
            (Status::Hit(0), "lb; hit; ttl=0"),
            (Status::Hit(u64::MAX), "lb; hit; ttl=18446744073709551615"),
            (
                Status::Fetched {
                    miss: Miss::Uri,
                    stored: true,
                    waited: false,
                },
                "lb; fwd=uri-miss; stored",
            ),
            (
                Status::Fetched {
                    miss: Miss::Stale,
                    stored: false,
                    waited: false,
                },
                "lb; fwd=stale",
            ),
            (
                Status::Fetched {
                    miss: Miss::Uri,
                    stored: false,
                    waited: true,
                },
                "lb; fwd=uri-miss; collapsed=?0",
            ),
            (Status::Collapsed(Miss::Vary), "lb; fwd=vary-miss; collapsed"),
            (Status::Method, "lb; fwd=method"),
            (Status::Bypass, "lb; fwd=bypass"),
        ];
        for (status, value) in statuses {
            assert_eq!(String::from_utf8(status.tell(<[u8]>::to_vec)).unwrap(), value);
        }
    }

    #[test]
    fn every_value_is_a_structured_list_that_says_what_happened() {
        for (name, miss) in [("uri-miss", Miss::Uri), ("vary-miss", Miss::Vary), ("stale", Miss::Stale)] {
            for (stored, waited) in [(false, false), (false, true), (true, false), (true, true)] {
                let value = Status::Fetched { miss, stored, waited }.tell(<[u8]>::to_vec);
                let list = sfv::Parser::parse_list(value.as_slice()).unwrap();
                let [sfv::ListEntry::Item(item)] = list.as_slice() else {
                    panic!("{value:?}")
                };
                let parameter = |name: &str| item.params.get(name);
                assert_eq!(parameter("fwd").and_then(sfv::BareItem::as_token), Some(name));
                assert_eq!(parameter("stored").and_then(sfv::BareItem::as_bool), stored.then_some(true));
                assert_eq!(parameter("collapsed").and_then(sfv::BareItem::as_bool), waited.then_some(false));
            }
        }
    }
}

//! `Cache-Status` (RFC 9211): what the cache did with a request, for whoever reads the answer's head.
//!
//! It is written on the stack: no value costs an allocation.

use http::{HeaderName, StatusCode};

use super::freshness::Why;
use super::hit::Stale;

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
    /// What is stored is not fresh enough for what the client says.
    Request,
}

impl Miss {
    const fn name(self) -> &'static str {
        match self {
            Self::Uri => "uri-miss",
            Self::Vary => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

/// What the cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Answered from the store; fresh for so many more seconds.
    Hit(u64),
    /// Answered from the store, though stale.
    Stale(Stale),
    /// Fetched from the origin.
    Fetched {
        /// Why.
        miss: Miss,
        /// Whether the answer is stored.
        stored: bool,
        /// Whether it first waited, in vain, for what another request fetched.
        waited: bool,
    },
    /// Answered from the store, after the origin said that it is still right.
    Revalidated {
        /// Why it was asked.
        miss: Miss,
        /// It stays fresh for so many seconds.
        ttl: u64,
    },
    /// Answered from the store, though stale, after the origin gave no good answer.
    Failed {
        /// Why it was asked.
        miss: Miss,
        /// What it said; `None`: nothing.
        status: Option<StatusCode>,
        /// How stale it is.
        stale: Stale,
    },
    /// Answered by what another request fetched.
    Collapsed(Miss),
    /// Neither `GET` nor `HEAD`.
    Method,
    /// The request went past the cache.
    Bypass,
    /// Nothing that is stored may answer it, and the client wants nothing else.
    Unsatisfied,
    /// Refused before it came to the cache.
    Refused,
}

impl Status {
    /// The label in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit(_) => "hit",
            Self::Stale(_) | Self::Failed { .. } => "stale",
            Self::Revalidated { .. } => "revalidated",
            Self::Fetched { .. } | Self::Collapsed(_) | Self::Unsatisfied => "miss",
            Self::Method | Self::Bypass | Self::Refused => "bypass",
        }
    }

    /// Gives the field's value to `write`.
    pub fn tell<T>(self, write: impl FnOnce(&[u8]) -> T) -> T {
        let mut text = Text::new("lb");
        match self {
            Self::Hit(ttl) => text.add("; hit; ttl=").number(ttl),
            Self::Stale(stale) => text.add("; hit").stale(stale),
            Self::Fetched { miss, stored, waited } => text
                .add("; fwd=")
                .add(miss.name())
                .add(if stored { "; stored" } else { "" })
                .add(if waited { "; collapsed=?0" } else { "" }),
            Self::Revalidated { miss, ttl } => text.add("; fwd=").add(miss.name()).add("; fwd-status=304; ttl=").number(ttl),
            Self::Failed { miss, status, stale } => {
                text.add("; fwd=").add(miss.name());
                if let Some(status) = status {
                    text.add("; fwd-status=").add(status.as_str());
                }
                text.stale(stale)
            }
            Self::Collapsed(miss) => text.add("; fwd=").add(miss.name()).add("; collapsed"),
            Self::Method => text.add("; fwd=method"),
            Self::Bypass => text.add("; fwd=bypass"),
            Self::Unsatisfied => text.add("; detail=only-if-cached"),
            Self::Refused => text.add("; detail=refused"),
        };
        write(text.written())
    }
}

/// What no value is longer than.
const LONGEST: usize = 128;

struct Text {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Text {
    fn new(start: &str) -> Self {
        let mut text = Self {
            bytes: [0; LONGEST],
            length: 0,
        };
        text.add(start);
        text
    }

    fn add(&mut self, part: &str) -> &mut Self {
        let end = self.length + part.len();
        // All that is ever written fits; a test writes the longest.
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(part.as_bytes());
            self.length = end;
        }
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.add(itoa::Buffer::new().format(number))
    }

    fn stale(&mut self, stale: Stale) -> &mut Self {
        self.add("; ttl=-").number(stale.over).add(match stale.why {
            Why::WhileRevalidate => "; detail=stale-while-revalidate",
            Why::IfError => "; detail=stale-if-error",
            Why::OnRequest => "; detail=max-stale",
        })
    }

    fn written(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: Status) -> String {
        String::from_utf8(status.tell(<[u8]>::to_vec)).unwrap()
    }

    const STALE: Stale = Stale {
        over: u64::MAX,
        why: Why::WhileRevalidate,
    };

    #[test]
    fn values_are_the_members_of_rfc_9211() {
        let fetched = |miss, stored, waited| Status::Fetched { miss, stored, waited };
        let failed = |status| Status::Failed {
            miss: Miss::Stale,
            status,
            stale: Stale {
                over: 7,
                why: Why::IfError,
            },
        };
        let statuses = [
            (Status::Hit(0), "lb; hit; ttl=0"),
            (Status::Hit(u64::MAX), "lb; hit; ttl=18446744073709551615"),
            (fetched(Miss::Uri, true, false), "lb; fwd=uri-miss; stored"),
            (fetched(Miss::Stale, false, false), "lb; fwd=stale"),
            (fetched(Miss::Uri, false, true), "lb; fwd=uri-miss; collapsed=?0"),
            (fetched(Miss::Request, true, false), "lb; fwd=request; stored"),
            (Status::Collapsed(Miss::Vary), "lb; fwd=vary-miss; collapsed"),
            (
                Status::Revalidated {
                    miss: Miss::Stale,
                    ttl: 60,
                },
                "lb; fwd=stale; fwd-status=304; ttl=60",
            ),
            (
                failed(Some(StatusCode::SERVICE_UNAVAILABLE)),
                "lb; fwd=stale; fwd-status=503; ttl=-7; detail=stale-if-error",
            ),
            (failed(None), "lb; fwd=stale; ttl=-7; detail=stale-if-error"),
            (
                Status::Stale(Stale {
                    over: 1,
                    why: Why::OnRequest,
                }),
                "lb; hit; ttl=-1; detail=max-stale",
            ),
            (Status::Method, "lb; fwd=method"),
            (Status::Bypass, "lb; fwd=bypass"),
            (Status::Unsatisfied, "lb; detail=only-if-cached"),
        ];
        for (status, value) in statuses {
            assert_eq!(told(status), value);
        }
    }

    #[test]
    fn every_value_fits_and_is_a_structured_list() {
        for miss in [Miss::Uri, Miss::Vary, Miss::Stale, Miss::Request] {
            for (stored, waited) in [(false, false), (false, true), (true, false), (true, true)] {
                let value = told(Status::Fetched { miss, stored, waited });
                let list = sfv::Parser::parse_list(value.as_bytes()).unwrap();
                let [sfv::ListEntry::Item(item)] = list.as_slice() else {
                    panic!("{value:?}")
                };
                let parameter = |name: &str| item.params.get(name);
                assert_eq!(parameter("fwd").and_then(sfv::BareItem::as_token), Some(miss.name()));
                assert_eq!(parameter("stored").and_then(sfv::BareItem::as_bool), stored.then_some(true));
                assert_eq!(parameter("collapsed").and_then(sfv::BareItem::as_bool), waited.then_some(false));
            }
        }
        let longest = told(Status::Failed {
            miss: Miss::Uri,
            status: Some(StatusCode::BAD_GATEWAY),
            stale: STALE,
        });
        assert!(
            longest.ends_with("; detail=stale-while-revalidate") && longest.len() < LONGEST,
            "{longest}"
        );
    }
}

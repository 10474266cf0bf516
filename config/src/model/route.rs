//! `[[routes]]`: what they match, and what is done with what matches.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

use super::{Fault, Mirror, Split};

/// One of `[[routes]]`.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its label in metrics and logs: `name`, else host and path as written.
    pub name: Arc<str>,
    /// Which hosts it takes.
    pub host: HostMatch,
    /// Which paths it takes.
    pub path: PathMatch,
    /// Which methods; empty: every one.
    pub methods: Vec<Method>,
    /// Headers that must have exactly this value.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is done.
    pub action: Action,
    /// Copies of requests to another upstream; only with [`Action::Forward`].
    pub mirror: Option<Mirror>,
    /// Delays and errors on purpose.
    pub fault: Option<Fault>,
    /// Edits of the request.
    pub request_headers: HeaderEdits,
    /// Edits of the response.
    pub response_headers: HeaderEdits,
    /// Caching; `None`: off.
    pub cache: Option<RouteCache>,
    /// A POST or PATCH with an `Idempotency-Key` may be tried again.
    pub retry_idempotency_key: bool,
    /// Bytes of a request body here; `None`: as in [`Limits`].
    pub max_body: Option<u64>,
    /// Who may come; empty: everybody.
    pub allow: Vec<IpNet>,
    /// Who may not; it wins over `allow`.
    pub deny: Vec<IpNet>,
}

/// Which hosts a route takes. Names are in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMatch {
    /// Every one.
    Any,
    /// This one.
    Exact(Box<str>),
    /// `*.example.com`, held as `.example.com`: any name that ends so and has something before it.
    Wildcard(Box<str>),
}

/// Which paths a route takes.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// This path and what is below it, by whole segments. `/` is everything. Without a trailing slash but for `/` itself.
    Prefix(Box<str>),
    /// Exactly this path.
    Exact(Box<str>),
    /// Paths that the expression finds something in.
    Regex(regex::bytes::Regex),
}

/// What a route does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Forwards to a server.
    Forward {
        /// Whose servers: `upstream`, or `split`.
        split: Split,
        /// How the path is changed.
        rewrite: Rewrite,
    },
    /// Sends the client elsewhere.
    Redirect {
        /// The `Location`.
        to: Template,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
    /// Answers itself.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body.
        body: Arc<str>,
        /// The `Content-Type`.
        content_type: HeaderValue,
    },
}

/// `rewrite`: first the one, then the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewrite {
    /// Taken off the path where it starts with it, by whole segments; what is left starts with `/`.
    pub strip_prefix: Option<Box<str>>,
    /// Put before the path; starts with `/`, ends without one.
    pub add_prefix: Option<Box<str>>,
}

/// `request_headers` and `response_headers`: removed first, then set, then added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// Replaces what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Comes beside what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Is taken away.
    pub remove: Vec<HeaderName>,
}

impl HeaderEdits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// `cache` of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteCache {
    /// The freshness of a response of [`RouteCache::statuses`] that says nothing itself; 0: only what the origin makes fresh. `None`: what can be
    /// guessed from when it was modified.
    pub ttl: Option<Duration>,
    /// The statuses that get [`RouteCache::ttl`].
    pub statuses: Vec<StatusCode>,
    /// Requests for a key from which on its responses are stored: 1 to 1000.
    pub min_uses: u32,
    /// The key. The upstream is always part of it, the method never.
    pub key: Template,
    /// Request fields that answers depend on, whatever their `Vary` says.
    pub vary_on: Vec<HeaderName>,
    /// What makes a request go past the cache.
    pub bypass_on: Vec<BypassOn>,
    /// For how long a response is served after its freshness while it is fetched anew, where the origin says nothing of that.
    pub stale_while_revalidate: Duration,
    /// The same, where the origin gives no good answer.
    pub stale_if_error: Duration,
}

/// What a request has that goes past the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BypassOn {
    /// A header of that name.
    Header(HeaderName),
    /// A cookie of that name.
    Cookie(Box<str>),
}

/// A string with `{scheme}`, `{host}`, `{path}` and `{query}` in it. `{query}` is empty or starts with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Literal(Box<str>),
    /// `http` or `https`.
    Scheme,
    /// The request's host, in lower case, with its port where it has one.
    Host,
    /// The request's path as received.
    Path,
    /// The query with its `?`, or nothing.
    Query,
}

impl Template {
    /// The URL as the client asked for it: the default cache key.
    pub fn url() -> Template {
        let literal = |text: &str| Part::Literal(text.into());
        Template(vec![Part::Scheme, literal("://"), Part::Host, Part::Path, Part::Query])
    }
}

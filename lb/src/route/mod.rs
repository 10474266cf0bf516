//! Which route takes a request.
//!
//! A route has conditions on the host, the path, the method and headers, and takes a request only if **all** of them hold. Where several
//! routes could take it, the most specific one does, wherever it stands in the file:
//!
//! 1. by host: an exact name, then wildcards (`*.b.example.com` before `*.example.com`), then routes without a host;
//! 2. within that by path: an exact path, then expressions in file order, then prefixes, the longest first, by whole segments;
//! 3. what is equal in both goes by file order: of two routes that differ in methods or headers only, the first one that holds.
//!
//! A route that fails on a method or header is passed over as if it were not there, so a less specific one may take the request. If none
//! does, though some would have but for the method, the answer is 405, and `Allow` names the methods of all of those (RFC 9110 §15.5.6).
//!
//! Details that the file's words leave open:
//!
//! - `methods = ["GET"]` does not take HEAD: what is listed is what is taken.
//! - A header condition holds if any field of that name has exactly that value.
//! - Paths compare in the canonical form of [`Target`], both the request's and the file's: `/caf%c3%a9`, `/caf%C3%A9` and `/café` are one.
//!   Expressions see that form too: ASCII, unreserved characters decoded, other `%XX` in upper case.
//! - `*` (`OPTIONS *`) has no path: of all paths only the prefix `/` takes it.
//!
//! A [`Router`] is an immutable table, built once for a configuration. A look-up costs a hash for the host and one for each segment that
//! the table knows, whatever the number of routes, and allocates nothing for a host in lower case.

mod explain;
mod host;
#[cfg(test)]
mod precedence;
#[cfg(test)]
mod properties;
mod reference;
mod rewrite;
mod split;
mod table;
mod target;
mod template;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use lb_config::{HostMatch, PathMatch, Route};

use crate::exchange::head::RequestHead;
pub use explain::{Explained, Mismatch, Verdict};
pub use reference::on_same_origin;
pub use rewrite::rewrite;
pub use split::Split;
use table::{Paths, RouteIndex};
pub use target::Target;
pub use template::{location, render};

/// A table by name. A fast hash is safe here: names enter it from the configuration only, and clients can but look them up.
type Names<T> = HashMap<Box<[u8]>, T, foldhash::fast::FixedState>;

/// The routes of a configuration, ready to be asked.
#[derive(Debug)]
pub struct Router {
    exact: Names<Paths>,
    /// By suffix, with its dot.
    wildcard: Names<Paths>,
    any: Paths,
    conditions: Vec<Conditions>,
}

/// What [`Router::find`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The route of that place in the file.
    Route(usize),
    /// Routes would take it but for its method: the methods that they take, in file order, none twice.
    MethodNotAllowed(Vec<Method>),
    /// Nothing takes it.
    None,
}

/// A route's conditions. Host and path are in the tables, and here for those who ask why.
#[derive(Debug)]
struct Conditions {
    name: Arc<str>,
    host: HostMatch,
    path: PathMatch,
    methods: Vec<Method>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Conditions {
    fn method_holds(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    fn headers_hold(&self, request: &impl RequestHead) -> bool {
        self.headers.iter().all(|(name, value)| header_holds(request, name, value))
    }
}

fn header_holds(request: &impl RequestHead, name: &HeaderName, value: &HeaderValue) -> bool {
    request.all(name).any(|found| found == value.as_bytes())
}

impl Router {
    /// Builds the tables. Indices in answers are places in `routes`.
    pub fn new(routes: &[Route]) -> Self {
        let mut router = Self {
            exact: Names::default(),
            wildcard: Names::default(),
            any: Paths::default(),
            conditions: Vec::new(),
        };
        for (index, route) in routes.iter().enumerate() {
            let paths = match &route.host {
                HostMatch::Any => &mut router.any,
                HostMatch::Exact(name) => router.exact.entry(host::name(name.as_bytes()).into()).or_default(),
                HostMatch::Wildcard(suffix) => router.wildcard.entry(host::name(suffix.as_bytes()).into()).or_default(),
            };
            paths.insert(&route.path, index);
            router.conditions.push(Conditions {
                name: route.name.clone(),
                host: route.host.clone(),
                path: route.path.clone(),
                methods: route.methods.clone(),
                headers: route.headers.clone(),
            });
        }
        router
    }

    /// The route that takes a request.
    pub fn find(&self, request: &impl RequestHead, target: &Target<'_>) -> Found {
        let mut only_by_method = false;
        let found = self.visit(request.authority(), target, |index| {
            let conditions = &self.conditions[index];
            if !conditions.headers_hold(request) {
                return ControlFlow::Continue(());
            }
            if conditions.method_holds(request.method()) {
                return ControlFlow::Break(index);
            }
            only_by_method = true;
            ControlFlow::Continue(())
        });
        match found {
            ControlFlow::Break(index) => Found::Route(index),
            ControlFlow::Continue(()) if only_by_method => Found::MethodNotAllowed(self.allow(request, target)),
            ControlFlow::Continue(()) => Found::None,
        }
    }

    /// The routes that could take a request for this URL, if it had the right method and headers.
    pub fn all_for(&self, authority: &[u8], target: &Target<'_>) -> Vec<usize> {
        let mut routes = Vec::new();
        let _ = self.visit(authority, target, |index| {
            routes.push(index);
            ControlFlow::<()>::Continue(())
        });
        routes
    }

    /// The methods of all routes whose other conditions hold.
    fn allow(&self, request: &impl RequestHead, target: &Target<'_>) -> Vec<Method> {
        let mut routes = Vec::new();
        let _ = self.visit(request.authority(), target, |index| {
            if self.conditions[index].headers_hold(request) {
                routes.push(index);
            }
            ControlFlow::<()>::Continue(())
        });
        routes.sort_unstable();
        let mut methods: Vec<Method> = Vec::new();
        for method in routes.into_iter().flat_map(|index| &self.conditions[index].methods) {
            if !methods.contains(method) {
                methods.push(method.clone());
            }
        }
        methods
    }

    /// Shows every route whose host and path match to `visit`, the most specific first, until it breaks. The order of precedence is
    /// written here and in [`Paths::visit`], and nowhere else.
    fn visit<B>(&self, authority: &[u8], target: &Target<'_>, mut visit: impl FnMut(RouteIndex) -> ControlFlow<B>) -> ControlFlow<B> {
        let mut visit_paths = |paths: &Paths| match target.is_asterisk() {
            false => paths.visit(target.path(), &mut visit),
            true => paths.visit_all_taking(&mut visit),
        };
        if !(self.exact.is_empty() && self.wildcard.is_empty()) {
            let name = host::name(authority);
            self.exact.get(&*name).map_or(ControlFlow::Continue(()), &mut visit_paths)?;
            if !self.wildcard.is_empty() {
                host::suffixes(&name)
                    .filter_map(|suffix| self.wildcard.get(suffix))
                    .try_for_each(&mut visit_paths)?;
            }
        }
        visit_paths(&self.any)
    }
}

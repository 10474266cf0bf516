//! The paths of one host: a tree of segments, and a list of expressions.
//!
//! A path is split at its slashes and led down the tree, one look-up a segment, until a segment has no node. What was passed on the way
//! are the prefixes of the path, the last one the longest; where the whole path was led to a node, exact routes of that very path stand
//! there. The cost depends on the path's segments that the tree knows, and not on the number of routes.
//!
//! `/users` has one segment, `/users/` has two, the second one empty; `/` as a prefix has none and stands at the root, so that it takes
//! every path. A segment is whole by construction: `/users` is no prefix of `/users2`.

use std::ops::ControlFlow;

use lb_config::PathMatch;
use regex::bytes::Regex;

use super::{Names, target};

/// A route, as its place in the file.
pub(super) type RouteIndex = usize;

/// The paths of one host.
#[derive(Debug)]
pub(super) struct Paths {
    /// The first one is the root.
    nodes: Vec<Node>,
    /// In file order.
    regexes: Vec<(Regex, RouteIndex)>,
}

/// Where a sequence of segments leads.
#[derive(Debug, Default)]
struct Node {
    children: Names<usize>,
    /// Routes of exactly this path, in file order.
    exact: Vec<RouteIndex>,
    /// Routes of this path and all below, in file order.
    prefix: Vec<RouteIndex>,
    /// The node one segment up; the root's is the root.
    parent: usize,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            regexes: Vec::new(),
        }
    }
}

impl Paths {
    /// Adds a route. Routes come in file order.
    pub(super) fn insert(&mut self, path: &PathMatch, route: RouteIndex) {
        match path {
            PathMatch::Regex(regex) => self.regexes.push((regex.clone(), route)),
            PathMatch::Exact(path) => {
                let node = self.grow(&target::canonical(path));
                self.nodes[node].exact.push(route);
            }
            PathMatch::Prefix(path) => {
                let path = target::canonical(path);
                let node = self.grow(path.strip_suffix(b"/").unwrap_or(&path));
                self.nodes[node].prefix.push(route);
            }
        }
    }

    /// The node of a path, made where there is none. The empty path is the root.
    fn grow(&mut self, path: &[u8]) -> usize {
        let mut node = 0;
        for segment in path.split(|&b| b == b'/').skip(1) {
            let parent = node;
            let new = self.nodes.len();
            node = *self.nodes[parent].children.entry(segment.into()).or_insert(new);
            if node == new {
                self.nodes.push(Node { parent, ..Node::default() });
            }
        }
        node
    }

    /// Shows every route whose path matches to `visit`, the most specific first, until it breaks.
    pub(super) fn visit<B>(&self, path: &[u8], mut visit: impl FnMut(RouteIndex) -> ControlFlow<B>) -> ControlFlow<B> {
        let walk = self.walk(path);
        if walk.whole {
            self.nodes[walk.deepest].exact.iter().try_for_each(|&route| visit(route))?;
        }
        for (regex, route) in &self.regexes {
            if regex.is_match(path) {
                visit(*route)?;
            }
        }
        let mut node = walk.deepest;
        loop {
            self.nodes[node].prefix.iter().try_for_each(|&route| visit(route))?;
            if node == 0 {
                return ControlFlow::Continue(());
            }
            node = self.nodes[node].parent;
        }
    }

    /// Shows the routes of every path to `visit`: what `*` matches, which has no segments.
    pub(super) fn visit_all_taking<B>(&self, visit: impl FnMut(RouteIndex) -> ControlFlow<B>) -> ControlFlow<B> {
        self.nodes[0].prefix.iter().copied().try_for_each(visit)
    }

    fn walk(&self, path: &[u8]) -> Walk {
        let mut walk = Walk { deepest: 0, whole: true };
        for segment in path.split(|&b| b == b'/').skip(1) {
            match self.nodes[walk.deepest].children.get(segment) {
                Some(&child) => walk.deepest = child,
                None => {
                    walk.whole = false;
                    break;
                }
            }
        }
        walk
    }
}

/// How far a path leads.
struct Walk {
    /// The last node on the way.
    deepest: usize,
    /// It is the whole path's.
    whole: bool,
}

//! The tables held against a router that is slow and plain, on random routes and requests.

use http::Method;
use proptest::prelude::*;
use regex::bytes::Regex;

use super::precedence::route;
use super::*;
use crate::test_head::TestHead;

/// A router as one would write it on a napkin: every route is tried, and the best one that holds is kept. It works on the text of
/// conditions, shares no code with the tables, and reads paths in canonical form only.
mod napkin {
    use super::*;

    /// By host, then by path.
    type Rank = (usize, (usize, usize));

    #[derive(Debug, Clone)]
    pub(super) struct Rule {
        pub(super) host: &'static str,
        pub(super) path: &'static str,
        pub(super) methods: Vec<&'static str>,
        pub(super) canary: Option<&'static str>,
    }

    impl Rule {
        /// How specific the host is; `None`: it does not match.
        fn host_rank(&self, host: &str) -> Option<usize> {
            match self.host.strip_prefix('*') {
                Some("") => Some(0),
                Some(suffix) => (host.ends_with(suffix) && host != suffix).then_some(suffix.len()),
                None => (host == self.host).then_some(usize::MAX),
            }
        }

        /// How specific the path is: class, then number of segments.
        fn path_rank(&self, path: &str) -> Option<(usize, usize)> {
            if let Some(exact) = self.path.strip_prefix('=') {
                return (exact == path).then_some((2, 0));
            }
            if let Some(regex) = self.path.strip_prefix('~') {
                return Regex::new(regex).unwrap().is_match(path.as_bytes()).then_some((1, 0));
            }
            let prefix: Vec<_> = self.path.strip_suffix('/').unwrap_or(self.path).split('/').collect();
            let segments: Vec<_> = path.split('/').collect();
            segments.starts_with(&prefix).then_some((0, prefix.len()))
        }

        fn rank(&self, host: &str, path: &str, canary: Option<&str>) -> Option<Rank> {
            let header = self.canary.is_none_or(|value| canary == Some(value));
            Some((self.host_rank(host)?, self.path_rank(path)?)).filter(|_| header)
        }
    }

    pub(super) fn find(rules: &[Rule], host: &str, path: &str, method: &str, canary: Option<&str>) -> Found {
        let mut best: Option<(Rank, usize)> = None;
        let mut allow: Vec<Method> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let Some(rank) = rule.rank(host, path, canary) else { continue };
            if !rule.methods.is_empty() && !rule.methods.contains(&method) {
                let methods = rule.methods.iter().map(|method| method.parse().unwrap());
                methods.for_each(|method| {
                    if !allow.contains(&method) {
                        allow.push(method)
                    }
                });
            } else if best.is_none_or(|(best, _)| rank > best) {
                best = Some((rank, index));
            }
        }
        match best {
            Some((_, index)) => Found::Route(index),
            None if allow.is_empty() => Found::None,
            None => Found::MethodNotAllowed(allow),
        }
    }
}

fn rules() -> impl Strategy<Value = Vec<napkin::Rule>> {
    let host = prop::sample::select(vec!["*", "*", "a.test", "b.a.test", "*.test", "*.a.test", "*.b.a.test"]);
    let path = prop::sample::select(vec![
        "/",
        "/",
        "/a",
        "/a/b",
        "/a/b/c",
        "/a//b",
        "//",
        "/b",
        "=/",
        "=/a",
        "=/a/",
        "=/a/b",
        "=/a//b",
        "~^/a",
        "~b$",
        "~^/a/[^/]+$",
        "~//",
        "/%2F",
    ]);
    let methods = prop::sample::select(vec![vec![], vec![], vec!["GET"], vec!["POST", "PUT"], vec!["GET", "PURGE"]]);
    let canary = prop::sample::select(vec![None, None, Some("1"), Some("2")]);
    let rule = (host, path, methods, canary).prop_map(|(host, path, methods, canary)| napkin::Rule {
        host,
        path,
        methods,
        canary,
    });
    prop::collection::vec(rule, 0..24)
}

fn requests() -> impl Strategy<Value = TestHead> {
    let host = prop::sample::select(vec![
        "",
        "test",
        "a.test",
        "A.Test:80",
        "b.a.test.",
        "c.b.a.test",
        "x.a.test",
        "other",
        "x.test:1",
    ]);
    let segment = prop::sample::select(vec!["a", "b", "c", "", "", "%61", ".", "..", "%2e%2e", "%2f"]);
    let path = prop::collection::vec(segment, 1..6).prop_map(|segments| format!("/{}", segments.join("/")));
    let method = prop::sample::select(vec!["GET", "POST", "PURGE", "DELETE"]);
    let canary = prop::sample::select(vec![None, None, Some("1"), Some("2"), Some("3")]);
    (host, path, method, canary).prop_map(|(host, path, method, canary)| {
        let request = TestHead::get(host, &path).method(method.parse().unwrap());
        match canary {
            Some(value) => request.with("X-Canary", value),
            None => request,
        }
    })
}

fn build(rules: &[napkin::Rule]) -> Router {
    let routes = rules.iter().map(|rule| {
        let headers: Vec<_> = rule.canary.iter().map(|&value| ("x-canary", value)).collect();
        route(rule.host, rule.path, &rule.methods, &headers)
    });
    Router::new(&routes.collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_tables_answer_as_the_napkin_does(rules in rules(), requests in prop::collection::vec(requests(), 1..8)) {
        let router = build(&rules);
        for request in requests {
            let target = Target::parse(&request.target);
            let host = String::from_utf8(host::name(&request.authority).into_owned()).unwrap();
            let path = std::str::from_utf8(target.path()).unwrap();
            let canary = request.fields.first().map(|(_, value)| std::str::from_utf8(value).unwrap());
            let expected = napkin::find(&rules, &host, path, request.method.as_str(), canary);
            prop_assert_eq!(router.find(&request, &target), expected, "{:?}", request);
        }
    }

    #[test]
    fn a_request_is_matched_as_its_canonical_and_its_forwarded_form_are(rules in rules(), request in requests()) {
        let router = build(&rules);
        let target = Target::parse(&request.target);
        let found = router.find(&request, &target);
        prop_assert_eq!(&router.find(&request, &Target::parse(target.path())), &found);
        prop_assert_eq!(&router.find(&request, &Target::parse(target.forward())), &found);
    }

    #[test]
    fn explain_agrees_with_find(rules in rules(), request in requests()) {
        let router = build(&rules);
        let target = Target::parse(&request.target);
        let explained = router.explain(&request, &target);
        let taken = explained.iter().find(|route| route.verdict == Verdict::Taken).map(|route| route.index);
        match router.find(&request, &target) {
            Found::Route(index) => prop_assert_eq!(taken, Some(index)),
            _ => {
                prop_assert_eq!(taken, None);
                prop_assert!(explained.iter().all(|route| matches!(route.verdict, Verdict::Failed(_))));
            }
        }
    }
}

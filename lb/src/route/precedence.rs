//! The rules of precedence as examples.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use lb_config::{Action, HeaderEdits, HostMatch, PathMatch, Route};
use regex::bytes::Regex;

use super::*;
use crate::test_head::TestHead;

/// A route, its conditions written as in the file: host, path, methods, headers.
pub(super) fn route(host: &str, path: &str, methods: &[&str], headers: &[(&str, &str)]) -> Route {
    Route {
        name: format!("{host}{path}").into(),
        host: match host.strip_prefix('*') {
            Some("") => HostMatch::Any,
            Some(suffix) => HostMatch::Wildcard(suffix.into()),
            None => HostMatch::Exact(host.into()),
        },
        path: match path.as_bytes()[0] {
            b'=' => PathMatch::Exact(path[1..].into()),
            b'~' => PathMatch::Regex(Regex::new(&path[1..]).unwrap()),
            _ => PathMatch::Prefix(path.into()),
        },
        methods: methods.iter().map(|method| method.parse().unwrap()).collect(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect(),
        action: Action::Respond {
            status: StatusCode::OK,
            body: "".into(),
            content_type: HeaderValue::from_static("text/plain"),
        },
        mirror: None,
        fault: None,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        cache: None,
        retry_idempotency_key: false,
        max_body: None,
        allow: Vec::new(),
        deny: Vec::new(),
    }
}

fn paths(paths: &[&str]) -> Router {
    Router::new(&paths.iter().map(|path| route("*", path, &[], &[])).collect::<Vec<_>>())
}

fn hosts(hosts: &[&str]) -> Router {
    Router::new(&hosts.iter().map(|host| route(host, "/", &[], &[])).collect::<Vec<_>>())
}

fn find(router: &Router, request: &TestHead) -> Found {
    router.find(request, &Target::parse(&request.target))
}

fn at(router: &Router, host: &str, target: &str) -> Option<usize> {
    match find(router, &TestHead::get(host, target)) {
        Found::Route(index) => Some(index),
        _ => None,
    }
}

#[test]
fn a_prefix_matches_whole_segments_only() {
    let router = paths(&["/users"]);
    for (target, found) in [
        ("/users", true),
        ("/users/", true),
        ("/users/1/2", true),
        ("/users?x", true),
        ("/users2", false),
        ("/", false),
    ] {
        assert_eq!(at(&router, "", target).is_some(), found, "{target}");
    }
}

#[test]
fn the_slash_takes_everything_and_an_exact_slash_only_itself() {
    let router = paths(&["/", "=/"]);
    assert_eq!(at(&router, "", "/"), Some(1));
    assert_eq!(at(&router, "", "//"), Some(0));
    assert_eq!(at(&router, "", "/a/b"), Some(0));
}

#[test]
fn exact_comes_before_regex_before_the_longest_prefix_whatever_the_file_order() {
    let router = paths(&["/", "/a/b", "/a", "~^/a/.*z$", "~^/a/b/", "=/a/b/z"]);
    assert_eq!(at(&router, "", "/a/b/z"), Some(5));
    assert_eq!(at(&router, "", "/a/b/cz"), Some(3));
    assert_eq!(at(&router, "", "/a/b/c"), Some(4));
    assert_eq!(at(&router, "", "/a/b"), Some(1));
    assert_eq!(at(&router, "", "/a/c"), Some(2));
    assert_eq!(at(&router, "", "/b"), Some(0));
}

#[test]
fn exact_host_comes_before_the_longest_wildcard_before_none() {
    let router = hosts(&["*", "*.example.com", "*.b.example.com", "a.b.example.com"]);
    assert_eq!(at(&router, "A.b.Example.com.:8080", "/"), Some(3));
    assert_eq!(at(&router, "x.b.example.com", "/"), Some(2));
    assert_eq!(at(&router, "b.example.com", "/"), Some(1));
    assert_eq!(at(&router, "x.y.example.com", "/"), Some(1));
    assert_eq!(at(&router, "example.com", "/"), Some(0));
    assert_eq!(at(&router, "", "/"), Some(0));
}

#[test]
fn host_outweighs_path() {
    let router = Router::new(&[
        route("*", "=/a", &[], &[]),
        route("*.example.com", "~a", &[], &[]),
        route("x.example.com", "/", &[], &[]),
    ]);
    assert_eq!(at(&router, "x.example.com", "/a"), Some(2));
    assert_eq!(at(&router, "y.example.com", "/a"), Some(1));
    assert_eq!(at(&router, "y.example.com", "/b"), None);
    assert_eq!(at(&router, "z", "/a"), Some(0));
}

#[test]
fn file_order_decides_between_routes_that_differ_in_methods_or_headers_only() {
    let router = Router::new(&[
        route("*", "/u", &[], &[("x-canary", "1")]),
        route("*", "/u", &["POST"], &[]),
        route("*", "/u", &[], &[]),
        route("*", "/u", &["POST"], &[("x-canary", "1")]),
    ]);
    let get = TestHead::get("", "/u/1");
    assert_eq!(find(&router, &get), Found::Route(2));
    assert_eq!(find(&router, &get.clone().method(Method::POST)), Found::Route(1));
    assert_eq!(
        find(&router, &get.clone().with("X-Canary", "1").method(Method::POST)),
        Found::Route(0)
    );
    assert_eq!(
        find(&router, &get.clone().with("x-canary", "2").with("x-canary", "1")),
        Found::Route(0)
    );
    assert_eq!(find(&router, &get.with("x-canary", "10")), Found::Route(2));
}

#[test]
fn a_route_that_fails_on_method_or_header_is_passed_over_for_a_less_specific_one() {
    let router = Router::new(&[
        route("api.example.com", "=/a/b", &["POST"], &[]),
        route("api.example.com", "~^/a", &[], &[("x", "1")]),
        route("api.example.com", "/a", &["PUT"], &[]),
        route("*", "/", &["GET"], &[]),
    ]);
    assert_eq!(at(&router, "api.example.com", "/a/b"), Some(3));
}

#[test]
fn a_method_that_no_matching_route_takes_is_405_with_all_their_methods() {
    let router = Router::new(&[
        route("*", "/", &["GET", "OPTIONS"], &[]),
        route("*", "=/u", &["PUT", "GET"], &[]),
        route("*", "/u", &["PATCH"], &[("x", "1")]),
        route("other", "/u", &["TRACE"], &[]),
    ]);
    let request = TestHead::get("", "/u").method(Method::DELETE);
    assert_eq!(
        find(&router, &request),
        Found::MethodNotAllowed(vec![Method::GET, Method::OPTIONS, Method::PUT])
    );
    assert_eq!(
        find(&router, &request.with("x", "1")),
        Found::MethodNotAllowed(vec![Method::GET, Method::OPTIONS, Method::PUT, Method::PATCH])
    );
}

#[test]
fn get_does_not_imply_head() {
    let router = Router::new(&[route("*", "/", &["GET"], &[])]);
    assert_eq!(
        find(&router, &TestHead::get("", "/").method(Method::HEAD)),
        Found::MethodNotAllowed(vec![Method::GET])
    );
}

#[test]
fn no_route_is_none() {
    assert_eq!(find(&Router::new(&[]), &TestHead::get("x", "/")), Found::None);
    assert_eq!(find(&hosts(&["a"]), &TestHead::get("b", "/")), Found::None);
}

#[test]
fn asterisk_is_taken_by_the_prefix_slash_alone() {
    let router = paths(&["=/", "~.*", "/a", "/"]);
    assert_eq!(find(&router, &TestHead::get("", "*").method(Method::OPTIONS)), Found::Route(3));
    assert_eq!(find(&paths(&["=/", "~.*"]), &TestHead::get("", "*")), Found::None);
}

#[test]
fn every_spelling_of_a_path_finds_the_same_route() {
    let router = paths(&["/", "=/users/~me", "/caf%c3%a9", "/a%2fb", "/a/b"]);
    for target in [
        "/users/~me",
        "/%75sers/%7Eme",
        "/x/../users/./%7eme",
        "/x/%2e%2E/users/~me",
        "/.%2e/users/~me",
    ] {
        assert_eq!(at(&router, "", target), Some(1), "{target}");
    }
    assert_eq!(at(&router, "", "/café/x"), Some(2));
    assert_eq!(at(&router, "", "/a%2Fb"), Some(3));
    assert_eq!(at(&router, "", "/a/b"), Some(4));
    assert_eq!(at(&router, "", "/a//b"), Some(0));
    assert_eq!(at(&router, "", "/users//~me"), Some(0));
}

#[test]
fn explain_names_every_condition_that_failed() {
    let router = Router::new(&[
        route("api.example.com", "/users", &["POST", "PUT"], &[("x-canary", "1"), ("x-b", "2")]),
        route("*.example.com", "=/a", &[], &[]),
        route("*", "/users", &["GET"], &[]),
        route("*", "/", &[], &[]),
    ]);
    let request = TestHead::get("Shop.test:80", "/users/%31")
        .with("x-canary", "0")
        .with("x-canary", "3");
    let explained = router.explain(&request, &Target::parse(&request.target));
    let Verdict::Failed(first) = &explained[0].verdict else {
        panic!("{explained:?}")
    };
    assert_eq!(
        first.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            r#"host is "shop.test", not "api.example.com""#,
            "method is GET, not POST or PUT",
            r#"header x-canary is "0" and "3", not "1""#,
            r#"header x-b is missing, "2" is expected"#,
        ]
    );
    let Verdict::Failed(second) = &explained[1].verdict else {
        panic!("{explained:?}")
    };
    assert_eq!(
        second.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            r#"host is "shop.test", not "*.example.com""#,
            r#"path is "/users/1", which "=/a" does not match"#
        ]
    );
    assert_eq!((&explained[2].verdict, &*explained[2].name), (&Verdict::Taken, "*/users"));
    assert_eq!(explained[3].verdict, Verdict::LessSpecific);
}

//! Which route takes a request, and what it does.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::servers;

/// A route that answers by its own name.
fn route(name: &str, conditions: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\n{conditions}\n[routes.respond]\nstatus = 200\nbody = \"{name}\"\ncontent_type = \"text/plain\"\n\n"
    )
}

async fn taken_by(lb: &Lb, host: &str, target: &str) -> String {
    let answer = lb.send(&Request::get(target).header("Host", host)).await;
    if answer.status == 200 {
        answer.text()
    } else {
        answer.status.to_string()
    }
}

#[tokio::test]
async fn the_most_specific_route_wins_whatever_its_place_in_the_file() {
    let lb = Lb::start(
        &[
            route("any", "path = '/'"),
            route("wildcard", "host = '*.example.com'"),
            route("exact-host", "host = 'api.example.com'"),
            route("prefix", "path = '/users'"),
            route("longer-prefix", "path = '/users/admin'"),
            route("regex", "path = '~^/users/[0-9]+$'"),
            route("later-regex", "path = '~^/users/[0-9a-f]+$'"),
            route("exact-path", "path = '=/users/7'"),
        ]
        .concat(),
    )
    .await;
    for (host, target, expected) in [
        ("x.test", "/", "any"),
        ("x.test", "/users", "prefix"),
        ("x.test", "/users/", "prefix"),
        ("x.test", "/users/x?q=/users/7", "prefix"),
        ("x.test", "/users2", "any"),
        ("x.test", "/users/admin/x", "longer-prefix"),
        ("x.test", "/users/adminx", "prefix"),
        ("x.test", "/users/42", "regex"),
        ("x.test", "/users/4f", "later-regex"),
        ("x.test", "/users/7", "exact-path"),
        ("x.test", "/users/7?a=b", "exact-path"),
        ("a.example.com", "/users/7", "wildcard"),
        ("a.b.example.com", "/", "wildcard"),
        ("example.com", "/", "any"),
        ("api.example.com", "/users/7", "exact-host"),
        ("API.Example.COM:8080", "/", "exact-host"),
        ("api.example.com.", "/", "exact-host"),
    ] {
        assert_eq!(taken_by(&lb, host, target).await, expected, "{host} {target}");
    }
}

#[tokio::test]
async fn all_conditions_of_a_route_must_hold() {
    let lb = Lb::start(
        &[
            route("canary", "path = '/a'\nheaders = { 'x-canary' = '1' }"),
            route("writes", "path = '/a/b'\nmethods = ['POST', 'PUT']"),
            route("rest", "path = '/a'"),
        ]
        .concat(),
    )
    .await;
    assert_eq!(lb.get("/a").await.text(), "rest");
    assert_eq!(lb.send(&Request::get("/a").header("X-Canary", "1")).await.text(), "canary");
    assert_eq!(lb.send(&Request::get("/a").header("X-Canary", "2")).await.text(), "rest");
    assert_eq!(lb.send(&Request::post("/a/b", "x")).await.text(), "writes");
    assert_eq!(lb.get("/a/b").await.text(), "rest");
}

#[tokio::test]
async fn a_path_that_matches_while_no_method_does_is_405_with_allow() {
    let lb = Lb::start(
        &[
            route("read", "path = '/a'\nmethods = ['GET']"),
            route("write", "path = '/a'\nmethods = ['POST']"),
        ]
        .concat(),
    )
    .await;
    let answer = lb.send(&Request::new("DELETE", "/a")).await;
    answer.assert_problem(405);
    assert!(
        answer.headers.lists("allow", "GET") && answer.headers.lists("allow", "POST"),
        "{}",
        answer.header("allow")
    );
    assert!(!answer.headers.lists("allow", "DELETE"));
    assert_eq!(lb.send(&Request::post("/a", "")).await.text(), "write");
}

#[tokio::test]
async fn without_a_route_it_is_404() {
    let lb = Lb::start(&route("a", "path = '/a'")).await;
    lb.get("/b").await.assert_problem(404);
}

#[tokio::test]
async fn encoded_letters_and_dot_segments_cannot_pass_a_route_by() {
    let lb = Lb::start(&[route("users", "path = '/users'"), route("rest", "path = '/'")].concat()).await;
    for target in ["/%75sers", "/users/%2e%2e/users/x", "/x/../users", "/./users", "/x/%2E%2e/users/1"] {
        assert_eq!(taken_by(&lb, "x.test", target).await, "users", "{target}");
    }
    for target in ["/users/../x", "/users%2Fx", "//users", "/x/users"] {
        assert_eq!(taken_by(&lb, "x.test", target).await, "rest", "{target}");
    }
}

#[tokio::test]
async fn the_path_is_forwarded_as_it_came_but_for_dot_segments() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n", servers(&[origin.addr()]))).await;
    for (sent, forwarded) in [
        ("/%75sers/a%2Fb?x=%2e%2e&y", "/%75sers/a%2Fb?x=%2e%2e&y"),
        ("//double//slash", "//double//slash"),
        ("/x/../users", "/users"),
        ("/a?", "/a?"),
        ("/a?b=../c", "/a?b=../c"),
    ] {
        lb.get(sent).await;
        assert_eq!(origin.last().target, forwarded, "{sent}");
    }
}

#[tokio::test]
async fn a_path_is_rewritten_by_whole_segments_and_keeps_its_query() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&format!(
        r#"
        [upstreams.app]
        servers = [{}]

        [[routes]]
        path = "/api"
        upstream = "app"
        rewrite = {{ strip_prefix = "/api", add_prefix = "/v1" }}

        [[routes]]
        path = "/strip"
        upstream = "app"
        rewrite = {{ strip_prefix = "/strip" }}

        [[routes]]
        path = "/"
        upstream = "app"
        rewrite = {{ strip_prefix = "/ap" }}
        "#,
        servers(&[origin.addr()])
    ))
    .await;
    for (sent, forwarded) in [
        ("/api/users?page=2", "/v1/users?page=2"),
        ("/api/a%2Fb", "/v1/a%2Fb"),
        ("/strip/users", "/users"),
        ("/strip", "/"),
        ("/strip?x", "/?x"),
        ("/apple", "/apple"),
    ] {
        lb.get(sent).await;
        assert_eq!(origin.last().target, forwarded, "{sent}");
    }
}

#[tokio::test]
async fn a_redirect_says_where_to() {
    let lb = Lb::start(
        r#"
        [[routes]]
        path = "/old"
        redirect = { to = "https://{host}{path}{query}", status = 308 }

        [[routes]]
        path = "/fixed"
        redirect = { to = "/new", status = 302 }
        "#,
    )
    .await;
    let answer = lb.send(&Request::get("/old/a%20b?x=1&y").header("Host", "shop.example")).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (308, "https://shop.example/old/a%20b?x=1&y")
    );
    assert!(answer.headers.has("x-request-id"));
    assert_eq!(lb.get("/old").await.header("location"), "https://lb.test/old");
    let answer = lb.send(&Request::post("/fixed", "body")).await;
    assert_eq!((answer.status, answer.header("location")), (302, "/new"));
}

#[tokio::test]
async fn a_fixed_answer_has_its_status_type_and_body() {
    let lb = Lb::start("[[routes]]\npath = \"/\"\nrespond = { status = 418, body = \"tea\", content_type = \"text/x-tea\" }\n").await;
    let answer = lb.get("/").await;
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.text().as_str()),
        (418, "text/x-tea", "tea")
    );
    let mut connection = lb.connect().await;
    let head = connection.send(&Request::head("/")).await.unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (418, "3", 0));
    assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "tea");
}

#[tokio::test]
async fn who_may_come_is_said_by_address_and_deny_wins() {
    let lb = Lb::start(
        &[
            route("open", "path = '/open'"),
            route("inside", "path = '/inside'\nallow = ['127.0.0.0/8']"),
            route("outside", "path = '/outside'\nallow = ['192.0.2.0/24']"),
            route("denied", "path = '/denied'\nallow = ['127.0.0.0/8']\ndeny = ['127.0.0.1']"),
        ]
        .concat(),
    )
    .await;
    assert_eq!(lb.get("/open").await.text(), "open");
    assert_eq!(lb.get("/inside").await.text(), "inside");
    lb.get("/outside").await.assert_problem(403);
    lb.get("/denied").await.assert_problem(403);
}

#[tokio::test]
async fn addresses_are_those_that_a_trusted_proxy_names() {
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n\n";
    let lb = Lb::start(&format!("{server}{}", route("a", "path = '/'\ndeny = ['203.0.113.0/24']"))).await;
    assert_eq!(
        lb.send(&Request::get("/").header("X-Forwarded-For", "198.51.100.1")).await.text(),
        "a"
    );
    lb.send(&Request::get("/").header("X-Forwarded-For", "203.0.113.66"))
        .await
        .assert_problem(403);
}

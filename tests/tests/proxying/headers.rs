//! The fields that `lb` sets, keeps, edits and takes away.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;

use super::{plain, smallest};

/// A UUID of version 7, as RFC 9562 writes it.
fn is_uuid7(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
        && groups[2].starts_with('7')
}

#[tokio::test]
async fn the_server_is_told_who_the_client_is_and_what_it_asked_for() {
    let (lb, origin) = plain().await;
    let answer = lb.send(&Request::get("/").header("Host", "Shop.example:8080")).await;
    let seen = origin.last();
    assert_eq!(seen.header("host"), "Shop.example:8080");
    assert_eq!(seen.header("x-real-ip"), "127.0.0.1");
    assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.header("x-forwarded-proto"), "http");
    assert_eq!(seen.header("x-forwarded-host"), "Shop.example:8080");
    assert!(is_uuid7(seen.header("x-request-id")), "{}", seen.header("x-request-id"));
    assert_eq!(answer.header("x-request-id"), seen.header("x-request-id"));
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own() {
    let (lb, _origin) = plain().await;
    let (first, second) = (lb.get("/").await, lb.get("/").await);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[tokio::test]
async fn what_an_untrusted_client_says_about_itself_is_replaced() {
    let (lb, origin) = plain().await;
    let request = Request::get("/")
        .header("X-Real-IP", "198.51.100.1")
        .header("x-real-ip", "198.51.100.2")
        .header("X_Real_IP", "198.51.100.3")
        .header("X-Forwarded-For", "198.51.100.4")
        .header("X-FORWARDED-FOR", "198.51.100.5")
        .header("X-Forwarded_For", "198.51.100.6")
        .header("X-Forwarded-Proto", "https")
        .header("X_Forwarded_Proto", "https")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Request-ID", "chosen-by-the-client")
        .header("X_Request_ID", "chosen-by-the-client");
    let answer = lb.send(&request).await;
    let seen = origin.last();
    let raw = String::from_utf8_lossy(&seen.raw_head).to_lowercase();
    for forged in [
        "198.51.100.",
        "https",
        "evil.example",
        "chosen-by-the-client",
        "x_real_ip",
        "x_forwarded",
        "forwarded_for",
    ] {
        assert!(!raw.contains(forged), "{forged} reached the server: {raw}");
    }
    for name in [
        "x-real-ip",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-request-id",
    ] {
        assert_eq!(seen.headers.all(name).count(), 1, "{name} in {raw}");
    }
    assert!(is_uuid7(answer.header("x-request-id")));
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_the_chain_grows() {
    let origin = Origin::named("origin").await;
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let lb = Lb::start(&format!("{server}{}", smallest(&origin))).await;
    let request = Request::get("/")
        .header("X-Forwarded-For", "198.51.100.7, 203.0.113.9")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "public.example")
        .header("X-Request-ID", "kept-0123.abc_DEF");
    let answer = lb.send(&request).await;
    let seen = origin.last();
    // the rightmost address that no trusted proxy has: what is left of it anybody may have written
    assert_eq!(seen.header("x-real-ip"), "203.0.113.9");
    let chain: Vec<&str> = seen
        .headers
        .all("x-forwarded-for")
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    assert_eq!(chain, ["198.51.100.7", "203.0.113.9", "127.0.0.1"]);
    assert_eq!(seen.header("x-forwarded-proto"), "https");
    assert_eq!(seen.header("x-forwarded-host"), "public.example");
    assert_eq!(seen.header("x-request-id"), "kept-0123.abc_DEF");
    assert_eq!(answer.header("x-request-id"), "kept-0123.abc_DEF");
}

#[tokio::test]
async fn even_a_trusted_proxy_cannot_choose_a_request_id_that_harms_logs() {
    let origin = Origin::named("origin").await;
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    let lb = Lb::start(&format!("{server}{}", smallest(&origin))).await;
    for id in ["with a space", "\"quoted\"", "", &"x".repeat(4096)] {
        let answer = lb.send(&Request::get("/").header("X-Request-ID", id)).await;
        assert!(
            is_uuid7(answer.header("x-request-id")),
            "{id:?} was taken as {}",
            answer.header("x-request-id")
        );
        assert_eq!(origin.last().headers.all("x-request-id").count(), 1);
    }
}

#[tokio::test]
async fn host_can_be_set_for_an_upstream_and_the_client_s_one_is_told_beside_it() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&format!("{}host = \"users.internal\"\n", smallest(&origin))).await;
    lb.send(&Request::get("/").header("Host", "public.example")).await;
    assert_eq!(origin.last().headers.all("host").collect::<Vec<_>>(), ["users.internal"]);
    assert_eq!(origin.last().header("x-forwarded-host"), "public.example");
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_request_stop_here() {
    let (lb, origin) = plain().await;
    let request = Request::get("/")
        .header("Connection", "keep-alive, X-Secret")
        .header("X-Secret", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "gzip")
        .header("X-End-To-End", "stays");
    lb.send(&request).await;
    let seen = origin.last();
    for name in ["x-secret", "keep-alive", "proxy-connection", "te"] {
        assert!(!seen.headers.has(name), "{name} reached the server: {:?}", seen.headers);
    }
    assert!(!seen.headers.lists("connection", "x-secret"));
    assert_eq!(seen.header("x-end-to-end"), "stays");
}

#[tokio::test]
async fn hop_by_hop_fields_of_an_answer_stop_here() {
    let origin = Origin::start(|_| {
        let reply = Reply::text("a").header("Connection", "keep-alive, X-Hop").header("X-Hop", "1");
        reply
            .header("Keep-Alive", "timeout=5")
            .header("Proxy-Connection", "keep-alive")
            .header("X-End-To-End", "stays")
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let answer = lb.get("/").await;
    for name in ["x-hop", "keep-alive", "proxy-connection"] {
        assert!(!answer.headers.has(name), "{name} reached the client: {:?}", answer.headers);
    }
    assert_eq!(answer.header("x-end-to-end"), "stays");
}

#[tokio::test]
async fn connection_cannot_name_a_field_that_lb_itself_sets() {
    let (lb, origin) = plain().await;
    lb.send(&Request::get("/").header("Connection", "x-real-ip, x-forwarded-for, host"))
        .await;
    assert_eq!(origin.last().header("x-real-ip"), "127.0.0.1");
    assert_eq!(origin.last().header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(origin.last().header("host"), "lb.test");
}

#[tokio::test]
async fn repeated_fields_stay_repeated_and_in_order() {
    let origin = Origin::start(|_| {
        Reply::text("a")
            .header("Set-Cookie", "a=1")
            .header("X", "1")
            .header("Set-Cookie", "b=2")
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let answer = lb
        .send(&Request::get("/").header("X-Many", "1").header("Other", "x").header("X-Many", "2"))
        .await;
    assert_eq!(answer.headers.all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(origin.last().headers.all("x-many").collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test]
async fn fields_are_removed_set_and_added_as_the_route_says() {
    let origin = Origin::start(|_| {
        Reply::text("a")
            .header("Server", "secret/1.0")
            .header("X-Set", "old")
            .header("X-Add", "old")
    })
    .await;
    let lb = Lb::start(&format!(
        r#"
        [upstreams.app]
        servers = [{}]

        [[routes]]
        path = "/"
        upstream = "app"

        [routes.request_headers]
        set = {{ "x-set" = "new", "x-fresh" = "1" }}
        add = {{ "x-add" = "new" }}
        remove = ["x-debug"]

        [routes.response_headers]
        set = {{ "x-set" = "new", "strict-transport-security" = "max-age=63072000" }}
        add = {{ "x-add" = "new" }}
        remove = ["server"]
        "#,
        servers(&[origin.addr()])
    ))
    .await;
    let answer = lb
        .send(
            &Request::get("/")
                .header("X-Set", "old")
                .header("X-Add", "old")
                .header("X-Debug", "1")
                .header("x-debug", "2"),
        )
        .await;
    let seen = origin.last();
    assert_eq!(seen.headers.all("x-set").collect::<Vec<_>>(), ["new"]);
    assert_eq!(seen.headers.all("x-add").collect::<Vec<_>>(), ["old", "new"]);
    assert_eq!(seen.header("x-fresh"), "1");
    assert!(!seen.headers.has("x-debug"));
    assert_eq!(answer.headers.all("x-set").collect::<Vec<_>>(), ["new"]);
    assert_eq!(answer.headers.all("x-add").collect::<Vec<_>>(), ["old", "new"]);
    assert_eq!(answer.header("strict-transport-security"), "max-age=63072000");
    assert!(!answer.headers.has("server"), "{:?}", answer.headers);
}

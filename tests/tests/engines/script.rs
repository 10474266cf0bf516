//! What the servers answer, and the configuration before them.

use std::net::SocketAddr;

use lb_tests::origin::{Reply, Seen, Step};
use lb_tests::servers;

/// A route of its own by which a connection is tried out.
pub(super) const PROBE: &str = "/probe";

/// By the last segment of the target.
pub(super) fn answer(seen: &Seen) -> Reply {
    let path = seen.target.split('?').next().unwrap_or_default();
    match path.rsplit('/').next().unwrap_or_default() {
        "echo" => Reply::echo(),
        "chunked" => Reply::new(200).chunked(&["one ", "two ", "three"]),
        "empty-chunked" => Reply::new(200).chunked(&[]),
        "until-close" => Reply::new(200).until_close("until the end"),
        "close" => Reply::text("last").header("Connection", "close").then(Step::Close),
        "http10" => Reply::script(vec![Step::write("HTTP/1.0 200 OK\r\nX-Old: 1\r\n\r\nold"), Step::Close]),
        "204" => Reply::new(204).header("X-A", "1"),
        "304" => Reply::new(304).header("ETag", "\"a\""),
        "empty" => Reply::new(200),
        "404" => Reply::new(404).header("Content-Type", "text/x-mine").body("not here"),
        "500" => Reply::new(500).body("broken"),
        "503" => Reply::new(503).header("Retry-After", "7").body("busy"),
        "299" => Reply::new(299).body("a status of the server's own"),
        "moved" => Reply::new(302).header("Location", "/elsewhere?a=b"),
        "large" => Reply::new(200).body(vec![b'x'; 300_000]),
        "cookies" => Reply::text("a")
            .header("Set-Cookie", "a=1")
            .header("X", "1")
            .header("Set-Cookie", "b=2"),
        "hop" => Reply::text("a")
            .header("Connection", "keep-alive, X-Hop")
            .header("X-Hop", "1")
            .header("Keep-Alive", "timeout=5")
            .header("Proxy-Connection", "keep-alive")
            .header("X-Stays", "1"),
        "odd-fields" => {
            Reply::raw(b"HTTP/1.1 200 Fine By Me\r\nX-Empty:\r\nX-Space:   a  b  \r\nx-LOWER: \xe9\r\nContent-Length: 2\r\n\r\nok")
        }
        "no-reason" => Reply::raw("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok"),
        "hints" => Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        "early" => Reply::new(403).header("Connection", "close").body("no").early().then(Step::Close),
        "nothing" => Reply::close(),
        "garbage" => Reply::script(vec![Step::write("220 mail.example ESMTP\r\n\r\n"), Step::Close]),
        "cut-length" => Reply::script(vec![
            Step::write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstart"),
            Step::Close,
        ]),
        "cut-chunks" => Reply::script(vec![
            Step::write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstart\r\n"),
            Step::Close,
        ]),
        "slow" => Reply::never(),
        "tunnel" => Reply::tunnel("websocket"),
        "fresh" => Reply::text("fresh").header("Cache-Control", "max-age=600").header("ETag", "\"v1\""),
        "fresh-chunked" => Reply::new(200).header("Cache-Control", "max-age=600").chunked(&["in ", "pieces"]),
        "fresh-large" => Reply::new(200).header("Cache-Control", "max-age=600").body(vec![b'y'; 200_000]),
        "fresh-empty" => Reply::new(200).header("Cache-Control", "max-age=600"),
        "private" => Reply::text("private").header("Cache-Control", "private"),
        "vary" => Reply::text(seen.headers.get("x-lang").unwrap_or("none"))
            .header("Cache-Control", "max-age=600")
            .header("Vary", "X-Lang"),
        _ => Reply::text(&seen.target),
    }
}

/// The failing half of a pool of two.
pub(super) fn failing(seen: &Seen) -> Reply {
    if seen.target.ends_with("503") {
        Reply::new(503).body("busy")
    } else {
        Reply::reset()
    }
}

/// One configuration for both sides.
pub(super) fn config(origin: SocketAddr, failing: SocketAddr, refusing: SocketAddr) -> String {
    let patient = "passive_health = \"off\"\ntimeouts = { read = \"500ms\" }";
    let route = |path: &str, rest: &str| format!("[[routes]]\nname = \"{path}\"\npath = \"{path}\"\n{rest}\n\n");
    let answer = |status: u16, body: &str| format!("respond = {{ status = {status}, body = \"{body}\", content_type = \"text/plain\" }}");
    // one worker each, so that it is no chance which connections to servers are kept where
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\nthreads = 1\n\n";
    [
        server.into(),
        "[limits]\nmax_body = \"1MB\"\nmax_header_bytes = \"8KiB\"\nmax_headers = 50\n\n".into(),
        format!("[upstreams.app]\nservers = [{}]\n{patient}\nretry = \"off\"\n\n", servers(&[origin])),
        format!(
            "[upstreams.two]\nbalance = \"round_robin\"\nservers = [{}]\n{patient}\nretry = {{ attempts = 2, budget_percent = 100 }}\n\n",
            servers(&[failing, origin])
        ),
        format!("[upstreams.gone]\nservers = [{}]\n{patient}\n\n", servers(&[refusing])),
        format!("[upstreams.named]\nservers = [{}]\nhost = \"named.internal\"\n{patient}\n\n", servers(&[origin])),
        route("/", "upstream = \"app\""),
        route("/two", "upstream = \"two\""),
        route("/gone", "upstream = \"gone\""),
        route("/named", "upstream = \"named\""),
        route("/cached", "upstream = \"app\"\ncache = { ttl = \"0s\" }"),
        route(PROBE, &answer(200, "here")),
        route("/respond", &answer(200, "fixed")),
        route("/teapot", &answer(418, "tea")),
        route("/nothing-to-say", &answer(204, "")),
        route("/redirect", "redirect = { to = \"https://{host}{path}{query}\", status = 308 }"),
        route("/small", "upstream = \"app\"\nmax_body = \"10B\""),
        route("/denied", &format!("{}\ndeny = [\"127.0.0.1\"]", answer(200, "never"))),
        route("/posts", "upstream = \"app\"\nmethods = [\"POST\", \"PUT\"]"),
        route("/strip", "upstream = \"app\"\nrewrite = { strip_prefix = \"/strip\", add_prefix = \"/v1\" }"),
        route(
            "/edited",
            "upstream = \"app\"\nrequest_headers = { set = { \"x-set\" = \"new\" }, add = { \"x-add\" = \"new\" }, remove = [\"x-gone\"] }\n\
             response_headers = { set = { \"x\" = \"new\" }, add = { \"set-cookie\" = \"c=3\" }, remove = [\"content-type\"] }",
        ),
    ]
    .concat()
}

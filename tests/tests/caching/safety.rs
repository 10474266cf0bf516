//! What nobody can do to anybody else's answers: put something into them, or get at them.

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Seen};
use lb_tests::servers;

use super::{cached_as, fill, fresh, start};

/// An answer that has in it whatever of these the origin gets.
fn echo(seen: &Seen) -> Reply {
    let names = [
        "host",
        "x-forwarded-host",
        "x-forwarded-prefix",
        "forwarded",
        "x-original-url",
        "x-rewrite-url",
        "x-host",
        "x_forwarded_server",
        "x-forwarded-port",
    ];
    let said = names.map(|name| seen.headers.get(name).unwrap_or("-").to_owned());
    fresh(&said.join(" "))
}

const CLAIMS: [&str; 8] = [
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "Forwarded",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Host",
    "X_Forwarded_Server",
    "X-Forwarded-Port",
];

fn trusting(origin: &Origin, cache: &str) -> String {
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    format!("{server}\n{}", cached_as(origin, cache))
}

#[tokio::test]
async fn a_claim_that_is_not_in_the_key_is_not_in_the_answer_either() {
    let origin = Origin::start(echo).await;
    for config in [cached_as(&origin, "ttl = \"0s\""), trusting(&origin, "ttl = \"0s\"")] {
        let lb = Lb::start(&config).await;
        let attack = CLAIMS.iter().fold(Request::get("/").header("Host", "shop.test"), |request, name| {
            request.header(name, "evil.test")
        });
        let poisoned = lb.send(&attack).await.text();
        assert!(!poisoned.contains("evil"), "{poisoned}");
        fill(&lb, &Request::get("/").header("Host", "shop.test")).await;
        assert!(lb.send(&attack).await.is_hit(), "it is the same request as far as the key goes");
    }
}

#[tokio::test]
async fn a_claim_that_a_route_names_is_sent_and_tells_answers_apart() {
    let origin = Origin::start(echo).await;
    let lb = Lb::start(&trusting(&origin, "ttl = \"0s\", vary_on = [\"x-forwarded-host\"]")).await;
    let of = |shop: &str| Request::get("/").header("X-Forwarded-Host", shop);
    for shop in ["a.test", "b.test"] {
        fill(&lb, &of(shop)).await;
    }
    for shop in ["a.test", "b.test"] {
        let answer = lb.send(&of(shop)).await;
        assert!(answer.is_hit() && answer.text().contains(shop), "{answer:?}");
    }
}

#[tokio::test]
async fn claims_go_on_where_nothing_is_stored() {
    let origin = Origin::start(echo).await;
    let lb = Lb::start(&cached_as(&origin, "ttl = \"0s\"")).await;
    lb.send(&Request::post("/", "x").header("X-Original-URL", "/mine")).await;
    assert_eq!(origin.last().header("x-original-url"), "/mine");
}

#[tokio::test]
async fn a_request_that_claims_another_method_goes_past_the_store() {
    let (lb, origin) = start(|seen| fresh(seen.headers.get("x-http-method-override").unwrap_or("none"))).await;
    for _ in 0..2 {
        let claimed = lb.send(&Request::get("/").header("X-HTTP-Method-Override", "DELETE")).await;
        assert_eq!((claimed.text().as_str(), claimed.is_hit()), ("DELETE", false));
    }
    assert_eq!(lb.get("/").await.text(), "none");
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn a_field_that_the_origin_does_not_get_makes_no_variant() {
    let (lb, _origin) = start(|seen| fresh(seen.headers.get("x-lang").unwrap_or("none")).header("Vary", "X-Lang")).await;
    let hidden = Request::get("/").header("X-Lang", "de").header("Connection", "X-Lang");
    assert_eq!(lb.send(&hidden).await.text(), "none");
    assert_eq!(
        lb.send(&Request::get("/").header("X-Lang", "de")).await.text(),
        "de",
        "somebody has put another answer there"
    );
}

#[tokio::test]
async fn a_get_with_a_body_neither_fills_the_store_nor_is_served_from_it() {
    let (lb, origin) = start(
        |seen| match ["content-length", "transfer-encoding"].iter().any(|name| seen.headers.has(name)) {
            true => fresh("evil"),
            false => fresh("good"),
        },
    )
    .await;
    for _ in 0..2 {
        assert_eq!(lb.send(&Request::get("/").body("evil")).await.text(), "evil");
        assert_eq!(lb.send(&Request::get("/").chunks(vec!["evil".into()])).await.text(), "evil");
        assert_eq!(lb.get("/").await.text(), "good");
    }
    assert_eq!(origin.count(), 5);
}

#[tokio::test]
async fn hosts_ports_and_queries_are_apart_but_for_a_port_that_says_nothing() {
    let (lb, origin) = start(|seen| fresh(&format!("{} {}", seen.header("host"), seen.target))).await;
    let ask = |host: &str, target: &str| Request::get(target).header("Host", host);
    for host in ["shop.test", "shop.test:8080", "shop.test:443", "evil.test"] {
        fill(&lb, &ask(host, "/?a")).await;
        assert_eq!(lb.send(&ask(host, "/?a")).await.text(), format!("{host} /?a"));
    }
    let asked = origin.count();
    for host in ["shop.test:80", "SHOP.test"] {
        assert!(lb.send(&ask(host, "/?a")).await.is_hit(), "{host}");
    }
    assert_eq!(origin.count(), asked);
}

/// Web cache deception (Gil, 2017): a victim is sent to a URL that the cache takes for a file and the origin for an account.
#[tokio::test]
async fn an_account_is_nobody_else_s_whatever_its_url_looks_like() {
    let (lb, origin) = start(|seen| match seen.target.starts_with("/account") {
        true => Reply::text(&format!("{} of {}", seen.target, seen.header("cookie"))).header("Cache-Control", "private, max-age=60"),
        false => fresh("file"),
    })
    .await;
    let targets = [
        "/account/x.css",
        "/account%2fx.css",
        "/account;x.css",
        "/account%00x.css",
        "/account%0ax.css",
        "/account%3fx.css",
        "/account/..%2fstatic/x.css",
        "/account/x.css?.js",
    ];
    for target in targets {
        for who in ["victim", "attacker"] {
            let answer = lb.send(&Request::get(target).header("Cookie", who)).await;
            assert_eq!(answer.text(), format!("{target} of {who}"), "the origin saw another path");
        }
    }
    assert_eq!(origin.count(), 2 * targets.len());
}

#[tokio::test]
async fn what_is_stored_under_a_path_is_the_answer_to_that_path() {
    let (lb, origin) = start(|seen| fresh(&seen.target)).await;
    for (target, sent) in [
        ("/static/..%2faccount", "/static/..%2faccount"),
        ("/static/%2e%2e/account", "/account"),
        ("/static/../account", "/account"),
        ("/static//account", "/static//account"),
        ("/static/./account", "/static/account"),
        ("/account%2f", "/account%2f"),
        ("/account%2F", "/account%2F"),
        ("/Account", "/Account"),
    ] {
        for _ in 0..2 {
            assert_eq!(lb.get(target).await.text(), sent, "{target}");
        }
    }
    assert_eq!(origin.count_of("/account"), 1, "one path, one answer");
}

#[tokio::test]
async fn those_who_wait_never_get_a_private_answer_of_another() {
    let (lb, origin) = start(|seen| {
        Reply::text(seen.header("cookie"))
            .header("Cache-Control", "private, max-age=60")
            .held()
    })
    .await;
    let mut waiting = Vec::new();
    for who in 0..10 {
        let mut connection = lb.connect().await;
        connection
            .write(Request::get("/me").header("Cookie", who.to_string()).bytes())
            .await;
        waiting.push(connection);
    }
    origin.wait_for(1).await;
    origin.release_all();
    for (who, connection) in waiting.iter_mut().enumerate() {
        assert_eq!(connection.response("GET").await.unwrap().text(), who.to_string());
    }
    assert_eq!(origin.count(), 10);
}

#[tokio::test]
async fn routes_say_what_answers_depend_on_and_who_goes_past_the_store() {
    let origin = Origin::start(|seen| fresh(&format!("{:?}", seen.headers.get("x-plan")))).await;
    let lb = Lb::start(&cached_as(
        &origin,
        "ttl = \"0s\", vary_on = [\"x-plan\"], bypass_on = [\"cookie:session\", \"header:x-fresh\"]",
    ))
    .await;
    fill(&lb, &Request::get("/")).await;
    fill(&lb, &Request::get("/").header("X-Plan", "gold")).await;
    assert_eq!(lb.send(&Request::get("/").header("X-Plan", "gold")).await.text(), "Some(\"gold\")");
    assert_eq!(lb.get("/").await.text(), "None");
    for (name, value, past) in [
        ("Cookie", "a=b; session=1", true),
        ("X-Fresh", "", true),
        ("Cookie", "sessions=1", false),
    ] {
        let answer = lb.send(&Request::get("/").header(name, value)).await;
        assert_eq!(!answer.is_hit(), past, "{name}: {value}");
        assert_eq!(answer.header("cache-status") == "lb; fwd=bypass", past, "{name}: {value}");
    }
    let written = lb.send(&Request::post("/", "x").header("Cookie", "session=1")).await;
    assert_eq!(written.header("cache-status"), "lb; fwd=method");
    assert!(
        !lb.get("/").await.is_hit(),
        "a write that goes past the store takes out what it changes"
    );
}

#[tokio::test]
async fn a_private_answer_is_not_stored_for_one_route_because_another_would() {
    let origin = Origin::start(|seen| match seen.headers.get("cookie") {
        Some(who) => Reply::text(who).header("Cache-Control", "private"),
        None => fresh("nobody"),
    })
    .await;
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n\n[[routes]]\npath = \"/\"\nheaders = {{ x-a = \"1\" }}\nupstream = \"app\"\ncache = {{ ttl = \"1m\" }}\n\n\
         [[routes]]\npath = \"/\"\nupstream = \"app\"\ncache = {{ ttl = \"1m\" }}\n",
        servers(&[origin.addr()])
    ))
    .await;
    lb.send(&Request::get("/").header("Cookie", "alice").header("X-A", "1")).await;
    assert_eq!(lb.get("/").await.text(), "nobody");
}

#[tokio::test]
async fn nor_by_a_head_that_renews_what_is_stored() {
    let origin = Origin::start(|seen| {
        let place = seen.headers.get("x-host").unwrap_or("-").to_owned();
        fresh("the body")
            .header("ETag", "\"a\"")
            .header("Link", &format!("<http://{place}/>"))
    })
    .await;
    let lb = Lb::start(&cached_as(&origin, "ttl = \"0s\"")).await;
    fill(&lb, &Request::get("/")).await;
    let attack = Request::head("/").header("Cache-Control", "no-cache").header("X-Host", "evil.test");
    assert_eq!(lb.send(&attack).await.status, 200);
    let victim = lb.get("/").await;
    assert_eq!((victim.is_hit(), victim.header("link")), (true, "<http://-/>"));
}

#[tokio::test]
async fn an_answer_by_what_lb_says_of_each_client_is_for_nobody_else() {
    let origin = Origin::start(|seen| fresh(seen.header("x-forwarded-for")).header("Vary", "X-Forwarded-For")).await;
    let lb = Lb::start(&cached_as(&origin, "ttl = \"0s\"")).await;
    let other = std::net::IpAddr::from([127, 0, 0, 2]);
    for _ in 0..3 {
        assert_eq!(lb.get("/").await.text(), "127.0.0.1");
        let mut connection = Connection::open_from(other, lb.listen()).await.unwrap();
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "127.0.0.2");
    }
    assert_eq!(origin.count(), 6);
}

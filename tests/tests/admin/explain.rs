//! `lb explain`: what would happen, without sending anything.

use lb_tests::command;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;

use super::named_route;

#[tokio::test]
async fn it_names_route_upstream_algorithm_and_servers_and_sends_nothing() {
    let origin = Origin::named("origin").await;
    let config = format!(
        "{}cache = {{ ttl = \"5m\" }}\nmethods = [\"GET\", \"POST\"]\n",
        named_route(&origin)
    );
    let setup = Lb::setup(&config);
    let path = setup.write().display().to_string();
    let shown = command::lb(&["explain", "-c", &path, "http://shop.example/users/7?x=1"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    for part in [
        "people",
        "users",
        "least_conn",
        &origin.addr().to_string(),
        "shop.example",
        "/users/7?x=1",
    ] {
        assert!(shown.stdout.contains(part), "{part} is not in {}", shown.stdout);
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn it_follows_methods_and_headers_as_the_proxy_does() {
    let config = r#"
        [[routes]]
        name = "canary"
        path = "/"
        headers = { x-canary = "1" }
        respond = { status = 200, body = "a", content_type = "text/plain" }

        [[routes]]
        name = "writes"
        path = "/"
        methods = ["POST"]
        respond = { status = 200, body = "b", content_type = "text/plain" }
        "#;
    let setup = Lb::setup(config);
    let path = setup.write().display().to_string();
    let taken = |text: &str, name: &str| text.lines().any(|line| line.contains("route") && line.contains(name));
    let canary = command::lb(&["explain", "-c", &path, "-H", "X-Canary: 1", "http://a/"]).await;
    assert!(canary.code == 0 && taken(&canary.stdout, "canary"), "{canary:?}");
    let writes = command::lb(&["explain", "-c", &path, "-X", "POST", "http://a/"]).await;
    assert!(writes.code == 0 && taken(&writes.stdout, "writes"), "{writes:?}");
    let none = command::lb(&["explain", "-c", &path, "http://a/"]).await;
    assert!(none.stdout.contains("405") && none.stdout.contains("POST"), "{none:?}");
}

#[tokio::test]
async fn it_tells_the_key_and_whether_the_answer_could_be_stored() {
    let setup = Lb::setup(
        "[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n\n[[routes]]\npath = \"/\"\nupstream = \"app\"\n\n\
         [routes.cache]\nttl = \"0s\"\nvary_on = [\"x-plan\"]\nbypass_on = [\"cookie:session\"]\n",
    );
    let path = setup.write().display().to_string();
    for (arguments, said) in [
        (&[][..], "key \"http://shop.test/a?b\" in upstream app"),
        (&[], "for requests without x-plan"),
        (&["-H", "X-Plan: gold"], "for x-plan: gold"),
        (&[], "and its answer stored where the origin allows it"),
        (
            &["-H", "Cookie: session=1"],
            "not stored: it has the cookie session, as bypass_on says",
        ),
        (&["-H", "Cookie: sessions=1"], "and its answer stored where the origin allows it"),
        (&["-H", "Authorization: x"], "stored where the origin says public"),
        (&["-H", "Range: bytes=0-1"], "by a part of what is stored whole"),
        (&["-X", "HEAD"], "by what GET has stored"),
        (&["-X", "PUT"], "what is stored for its URL is taken out"),
        (&["-H", "X-HTTP-Method-Override: PUT"], "not stored: it claims another method"),
        (&["-H", "X-Original-URL: /b"], "x-original-url is not sent along"),
    ] {
        let all = [&["explain", "-c", &*path], arguments, &["http://Shop.test:80/x/../a?b"]].concat();
        let shown = command::lb(&all).await;
        assert!(
            shown.code == 0 && shown.stdout.contains(said),
            "{said:?} for {arguments:?}: {shown:?}"
        );
    }
}

#[tokio::test]
async fn a_bad_file_or_url_is_2() {
    let setup = Lb::setup("[limits]\nmax_body = \"huge\"\n\n[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n");
    let bad = command::lb(&["explain", "-c", &setup.write().display().to_string(), "http://a/"]).await;
    assert_eq!(bad.code, 2, "{bad:?}");
    let setup = Lb::setup("[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n");
    let bad = command::lb(&["explain", "-c", &setup.write().display().to_string(), "not a url"]).await;
    assert_eq!(bad.code, 2, "{bad:?}");
}

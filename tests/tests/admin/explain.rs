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
async fn a_bad_file_or_url_is_2() {
    let setup = Lb::setup("[limits]\nmax_body = \"huge\"\n\n[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n");
    let bad = command::lb(&["explain", "-c", &setup.write().display().to_string(), "http://a/"]).await;
    assert_eq!(bad.code, 2, "{bad:?}");
    let setup = Lb::setup("[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n");
    let bad = command::lb(&["explain", "-c", &setup.write().display().to_string(), "not a url"]).await;
    assert_eq!(bad.code, 2, "{bad:?}");
}

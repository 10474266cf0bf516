//! Where configuration comes from, and where servers can be.

use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};

use super::smallest;

#[tokio::test]
async fn values_come_from_the_environment() {
    let origin = Origin::named("origin").await;
    let setup = Lb::setup(
        r#"
        [server]
        listen = ["@LISTEN@"]
        admin = "@ADMIN@"
        threads = "${LB_TEST_THREADS}"

        [upstreams.app]
        servers = ["${LB_TEST_HOST:-127.0.0.1}:${LB_TEST_PORT}"]

        [[routes]]
        path = "/price"
        respond = { status = 200, body = "$$5 ${LB_TEST_TEXT}", content_type = "text/plain" }

        [[routes]]
        path = "/"
        upstream = "app"
        "#,
    );
    let setup = setup
        .env("LB_TEST_PORT", &origin.addr().port().to_string())
        .env("LB_TEST_THREADS", "1");
    let lb = setup.env("LB_TEST_TEXT", "a\"\nadmin = \"off").start().await;
    assert_eq!(lb.get("/").await.text(), "origin");
    assert_eq!(lb.get("/price").await.text(), "$5 a\"\nadmin = \"off");
}

#[tokio::test]
async fn included_files_are_merged() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let setup = Lb::setup("include = [\"conf.d/*.toml\"]\n\n[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\n");
    let part = |name: &str, origin: &Origin| {
        format!(
            "[upstreams.{name}]\nservers = [\"{}\"]\n\n[[routes]]\npath = \"/{name}\"\nupstream = \"{name}\"\n",
            origin.addr()
        )
    };
    let lb = setup
        .file("conf.d/a.toml", &part("a", &a))
        .file("conf.d/b.toml", &part("b", &b))
        .start()
        .await;
    assert_eq!((lb.get("/a").await.text(), lb.get("/b").await.text()), ("a".into(), "b".into()));
}

#[tokio::test]
async fn a_server_may_be_a_unix_socket() {
    let setup = Lb::setup("[upstreams.app]\nservers = [\"unix:@DIR@/app.sock\"]\n");
    let origin = Origin::unix(&setup.folder().join("app.sock"), |_| Reply::text("by socket")).await;
    let lb = setup.start().await;
    assert_eq!(lb.get("/x").await.text(), "by socket");
    assert_eq!(origin.last().target, "/x");
}

#[tokio::test]
async fn a_server_may_be_named_by_its_host() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [\"localhost:{}\"]\n", origin.addr().port())).await;
    for _ in 0..6 {
        assert_eq!(lb.get("/").await.text(), "origin");
    }
}

#[tokio::test]
async fn several_listeners_serve_the_same() {
    let origin = Origin::named("origin").await;
    let server = "[server]\nlisten = [\"@LISTEN@\", \"@LISTEN2@\"]\nadmin = \"@ADMIN@\"\n";
    let lb = Lb::start(&format!("{server}{}", smallest(&origin))).await;
    assert_eq!(lb.get("/").await.text(), "origin");
    let second = lb_tests::client::send(lb.listen2(), &lb_tests::client::Request::get("/"))
        .await
        .unwrap();
    assert_eq!(second.text(), "origin");
}

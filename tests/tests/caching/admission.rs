//! Who may not come gets nothing from the store either.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::servers;

use super::{fill, fresh};

#[tokio::test]
async fn admission_comes_before_the_look_up() {
    let origin = Origin::start(|_| fresh("secret")).await;
    let lb = Lb::start(&format!(
        r#"
        [server]
        listen = ["@LISTEN@"]
        admin = "@ADMIN@"
        trusted_proxies = ["127.0.0.0/8"]

        [upstreams.app]
        servers = [{}]

        [[routes]]
        path = "/"
        upstream = "app"
        deny = ["203.0.113.0/24"]
        cache = {{ ttl = "0s" }}
        "#,
        servers(&[origin.addr()])
    ))
    .await;
    fill(&lb, &Request::get("/")).await;
    let denied = lb.send(&Request::get("/").header("X-Forwarded-For", "203.0.113.5")).await;
    denied.assert_problem(403);
    assert_eq!(denied.header("cache-status"), "lb; detail=refused");
    assert_eq!(
        lb.send(&Request::get("/").header("X-Forwarded-For", "192.0.2.5")).await.text(),
        "secret"
    );
}

//! Who may use the admin address.

use lb_tests::client::{Request, send};
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;

use super::{named_route, plain};

const PATHS: [(&str, &str); 4] = [
    ("GET", "/metrics"),
    ("GET", "/api/status"),
    ("POST", "/api/reload"),
    ("DELETE", "/api/cache?all=true"),
];

#[tokio::test]
async fn with_a_token_every_path_but_the_probes_asks_for_it() {
    let origin = Origin::named("origin").await;
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = { listen = \"@ADMIN@\", token = \"${LB_TEST_TOKEN}\" }\n\n";
    let setup = Lb::setup(&format!("{server}{}", named_route(&origin)))
        .env("LB_TEST_TOKEN", "s3cret")
        .token("s3cret");
    let lb = setup.start().await;
    let own = lb.admin_addr().to_string();
    let ask = async |method: &str, path: &str, authorization: Option<&str>| {
        let request = Request::new(method, path).header("Host", &own);
        let request = authorization
            .iter()
            .fold(request, |request, value| request.header("Authorization", value));
        send(lb.admin_addr(), &request).await.unwrap()
    };
    for (method, path) in PATHS {
        assert_eq!(ask(method, path, None).await.status, 401, "{path} without a token");
        for wrong in [
            "Bearer wrong",
            "Bearer s3cre",
            "Bearer s3crett",
            "Bearer ",
            "s3cret",
            "Basic s3cret",
        ] {
            let status = ask(method, path, Some(wrong)).await.status;
            assert!([401, 403].contains(&status), "{path} with {wrong:?}: {status}");
        }
        assert_eq!(ask(method, path, Some("Bearer s3cret")).await.status, 200, "{path} with the token");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask("GET", path, None).await.status, 200, "{path}");
    }
    assert!(
        !lb.stderr().contains("s3cret") && !lb.status().await.to_string().contains("s3cret"),
        "the token is shown"
    );
    assert_eq!(lb.reloads().await, (1, 0), "only the one with the token was done");
}

#[tokio::test]
async fn a_page_from_elsewhere_cannot_use_it() {
    let (lb, _origin) = plain().await;
    let own = lb.admin_addr().to_string();
    for (method, path) in PATHS {
        let foreign_host = Request::new(method, path).header("Host", "rebound.example");
        assert_eq!(
            send(lb.admin_addr(), &foreign_host).await.unwrap().status,
            403,
            "{path} with a foreign Host"
        );
        let foreign_origin = Request::new(method, path)
            .header("Host", &own)
            .header("Origin", "http://evil.example");
        assert_eq!(
            send(lb.admin_addr(), &foreign_origin).await.unwrap().status,
            403,
            "{path} with a foreign Origin"
        );
        let null_origin = Request::new(method, path).header("Host", &own).header("Origin", "null");
        assert_eq!(
            send(lb.admin_addr(), &null_origin).await.unwrap().status,
            403,
            "{path} with Origin: null"
        );
        let own_page = Request::new(method, path)
            .header("Host", &own)
            .header("Origin", format!("http://{own}"));
        assert_eq!(
            send(lb.admin_addr(), &own_page).await.unwrap().status,
            200,
            "{path} from its own page"
        );
    }
    assert_eq!(lb.reloads().await, (1, 0));
}

#[tokio::test]
async fn the_listeners_for_clients_do_not_have_it() {
    let (lb, _origin) = plain().await;
    for path in ["/metrics", "/api/status", "/healthz", "/readyz", "/api/upstreams/users/servers/x"] {
        assert_eq!(lb.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn off_is_off() {
    let origin = Origin::named("origin").await;
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"off\"\n\n";
    let lb = Lb::setup(&format!("{server}{}", named_route(&origin))).unready().start().await;
    assert_eq!(lb.get("/users").await.text(), "origin");
    assert!(lb.try_admin(&Request::get("/healthz")).await.is_err());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let (lb, _origin) = plain().await;
    assert_eq!(lb.admin_get("/api/nonsense").await.status, 404);
    assert_eq!(lb.admin(&Request::new("PUT", "/api/reload").body("")).await.status, 405);
    assert_eq!(lb.admin_get("/api/reload").await.status, 405, "a GET must not reload");
    let server = "/api/upstreams/users/servers/127.0.0.1%3A1";
    assert_eq!(lb.admin_get(server).await.status, 405, "a GET must not change a server");
    assert_eq!(lb.reloads().await, (0, 0));
}

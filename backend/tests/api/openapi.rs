//! The OpenAPI document and its page.

use backend::settings::Who;
use serde_json::{Value, json};

use crate::common::{Api, Ask, Guarded, Home, Kind, problem};

async fn document(server: std::net::SocketAddr) -> Value {
    let answer = Ask::new(server, "GET", "/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    answer.json()
}

/// Method and path of every call that asks for a token.
fn behind_login(document: &Value) -> Vec<String> {
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            if operation["security"] == json!([{"bearer": []}]) {
                calls.push(format!("{method} {path}"));
            }
        }
    }
    calls
}

#[tokio::test]
async fn it_describes_every_call_of_the_contract() {
    let servers = Guarded::start(Home::Sqlite, Who::Writers).await;
    let document = document(servers.first).await;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    let paths: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
    assert_eq!(
        paths,
        [
            "/auth/login",
            "/auth/logout",
            "/auth/me",
            "/auth/refresh",
            "/auth/register",
            "/health",
            "/metrics",
            "/ready",
            "/users",
            "/users/{id}"
        ]
    );
    let of_user = &document["components"]["schemas"]["User"];
    assert_eq!(of_user["required"], json!(["id", "name", "email"]));
    let new = &document["components"]["schemas"]["NewUser"];
    assert_eq!(
        (&new["required"], &new["additionalProperties"]),
        (&json!(["name", "email"]), &json!(false))
    );
    let answers = document["paths"]["/users/{id}"]["patch"]["responses"].as_object().expect("answers");
    let statuses: Vec<&String> = answers.keys().collect();
    assert_eq!(
        statuses,
        ["200", "400", "401", "403", "404", "408", "409", "412", "413", "415", "422", "503"]
    );
    assert_eq!(
        answers["404"]["content"]["application/problem+json"]["schema"]["$ref"],
        "#/components/schemas/Problem"
    );
}

#[tokio::test]
async fn it_says_of_each_server_what_needs_a_login_there() {
    let writes = [
        "get /auth/me",
        "post /users",
        "delete /users/{id}",
        "patch /users/{id}",
        "put /users/{id}",
    ];
    let reads = ["get /users", "get /users/{id}"];
    for (who, mut due) in [(Who::Writers, writes.to_vec()), (Who::Everybody, [&writes[..], &reads].concat())] {
        let servers = Guarded::start(Home::Sqlite, who).await;
        let mut found = behind_login(&document(servers.first).await);
        found.sort_unstable();
        due.sort_unstable();
        assert_eq!(found, due);
    }
    let open = Api::start(Kind::Sqlite).await;
    let document = document(open.addr).await;
    assert!(behind_login(&document).is_empty());
    assert!(document["paths"].get("/auth/login").is_none(), "nobody can log in there");
}

#[tokio::test]
async fn the_page_takes_nothing_from_elsewhere() {
    let api = Api::start(Kind::Sqlite).await;
    let page = api.get("/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none';") && policy.contains("script-src 'self';"),
        "{policy}"
    );
    assert!(
        !policy.contains("upgrade-insecure-requests") && !policy.contains("http"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert!(
        !page.text().contains("http") && !page.text().contains("<script>"),
        "{}",
        page.text()
    );
    let linked: Vec<&str> = page.text().split('"').filter(|text| text.starts_with("/docs/")).collect();
    assert_eq!(linked.len(), 4);
    for path in linked {
        let asset = api.get(path).await;
        assert_eq!((asset.status, asset.header("content-security-policy")), (200, policy), "{path}");
        assert!(!asset.body.is_empty());
        let kind = match path.rsplit('.').next() {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            _ => "image/png",
        };
        assert!(
            asset.header("content-type").starts_with(kind),
            "{path}: {}",
            asset.header("content-type")
        );
    }
    for path in [
        "/docs/",
        "/docs/index.html",
        "/docs/oauth2-redirect.html",
        "/docs/..%2fopenapi.json",
    ] {
        problem(&api.get(path).await, 404);
    }
}

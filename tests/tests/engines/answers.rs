//! Answers of servers in every shape, and failures.

use lb_tests::client::Request;

use super::pair::{Case, Pair};

#[tokio::test]
async fn in_order() {
    let mut cases = Vec::new();
    for target in [
        "/chunked",
        "/empty-chunked",
        "/until-close",
        "/close",
        "/http10",
        "/204",
        "/304",
        "/empty",
        "/404",
        "/500",
        "/503",
        "/299",
        "/moved",
        "/large",
        "/cookies",
        "/hop",
        "/odd-fields",
        "/no-reason",
        "/hints",
    ] {
        cases.push(Case::of(target, &Request::get(target)));
        cases.push(Case::of(&format!("{target} for HEAD"), &Request::head(target)));
        if target != "/hints" {
            cases.push(Case::of(&format!("{target} over HTTP/1.0"), &Request::get(target).http10()));
        }
    }
    Pair::start().await.finish(cases).await;
}

#[tokio::test]
async fn failures() {
    let mut cases = Vec::new();
    for target in ["/nothing", "/garbage", "/slow", "/gone/x", "/cut-length", "/cut-chunks"] {
        for request in [Request::get(target), Request::post(target, "x"), Request::head(target)] {
            // HEAD has no body that could be cut
            if request.method() != "HEAD" || !target.starts_with("/cut") {
                cases.push(Case::of(&format!("{} {target}", request.method()), &request));
            }
        }
    }
    Pair::start().await.finish(cases).await;
}

#[tokio::test]
async fn retries() {
    let put = |body: Vec<u8>| Request::new("PUT", "/two/echo").body(body);
    let cases = [
        Request::get("/two/x"),
        Request::get("/two/503"),
        Request::head("/two/x"),
        Request::post("/two/echo", "x"),
        Request::post("/two/503", "x"),
        put(vec![b'x'; 1000]),
        put(vec![b'x'; 65_536]),
        put(vec![b'x'; 200_000]),
        Request::new("DELETE", "/two/x"),
    ];
    // twice: the one time the failing server comes first, the other time it does not
    let cases = cases.iter().flat_map(|request| {
        let name = format!("{request:?}");
        let name: String = name.chars().take(80).collect();
        [Case::of(&name, request), Case::of(&name, request)]
    });
    Pair::start().await.finish(cases.collect()).await;
}

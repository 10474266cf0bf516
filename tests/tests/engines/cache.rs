//! Cached routes: misses, hits, conditions.

use lb_tests::client::Request;

use super::pair::{Case, Pair};

#[tokio::test]
async fn misses_and_hits() {
    let mut cases = Vec::new();
    for target in [
        "/cached/fresh",
        "/cached/fresh-chunked",
        "/cached/fresh-large",
        "/cached/fresh-empty",
        "/cached/private",
        "/cached/204",
    ] {
        let requests = [
            Request::head(target),
            Request::get(target),
            Request::get(target),
            Request::head(target),
            Request::get(target).http10(),
            Request::get(target).header("If-None-Match", "\"v1\""),
            Request::get(target).header("If-None-Match", "\"v2\""),
            Request::get(target).header("If-None-Match", "W/\"v0\", \"v1\"").http10(),
            Request::get(target).header("Authorization", "Basic eDp5"),
            Request::get(target).header("Range", "bytes=0-1"),
            Request::get(target).header("Range", "bytes=1-").http10(),
            Request::get(target).header("Range", "bytes=999999999-"),
            Request::head(target).header("Range", "bytes=0-1"),
            Request::get(target).header("Range", "bytes=0-1").header("If-Range", "\"v1\""),
            Request::get(target).header("Range", "bytes=0-1").header("If-Range", "\"v2\""),
        ];
        cases.extend(requests.iter().map(|request| Case::of(&format!("{request:?}"), request)));
        cases.push(Case::of(&format!("{target} in one write"), &Request::get(target)).twice());
    }
    Pair::start().await.finish(cases).await;
}

#[tokio::test]
async fn variants_and_what_makes_them_go() {
    let lang = |lang: &str| Request::get("/cached/vary").header("X-Lang", lang);
    let requests = [
        lang("de"),
        lang("en"),
        lang("de"),
        Request::get("/cached/vary"),
        Request::get("/cached/vary?x"),
        Request::post("/cached/vary", "x"),
        lang("de"),
        Request::get("/cached/fresh"),
        Request::new("DELETE", "/cached/fresh"),
        Request::get("/cached/fresh"),
        Request::get("/cached/fresh").header("Cache-Control", "no-cache"),
        Request::get("/cached/fresh").header("Cache-Control", "only-if-cached"),
        Request::get("/cached/nothing"),
        Request::get("/cached/slow"),
    ];
    let cases = requests.iter().map(|request| Case::of(&format!("{request:?}"), request));
    Pair::start().await.finish(cases.collect()).await;
}

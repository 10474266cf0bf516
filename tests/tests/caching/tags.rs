//! `Cache-Tag` and `Cache-Purge`: a client reads its own writes.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;
use lb_tests::wait::until;

use super::{fill, fresh, start};

fn tagged(text: &str, tags: &str) -> Reply {
    fresh(text).header("Cache-Tag", tags)
}

#[tokio::test]
async fn a_purge_takes_out_what_bears_one_of_its_tags_and_nothing_else() {
    let (lb, origin) = start(|seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("POST", _) => Reply::new(201).header("Cache-Purge", "users, user-42"),
        (_, "/users") => tagged("list", "users"),
        (_, "/users/42") => tagged("one", "user-42, other"),
        (_, "/users/7") => tagged("seven", "user-7,user-420"),
        _ => fresh("untagged"),
    })
    .await;
    let all = ["/users", "/users/42", "/users/7", "/plain"];
    for target in all {
        fill(&lb, &Request::get(target)).await;
    }
    assert_eq!(lb.send(&Request::post("/write", "x")).await.status, 201);
    for (target, asked) in [("/users", 2), ("/users/42", 2), ("/users/7", 1), ("/plain", 1)] {
        assert_eq!(lb.get(target).await.is_hit(), asked == 1, "{target}");
        assert_eq!(origin.count_of(target), asked, "{target}");
    }
}

#[tokio::test]
async fn neither_field_reaches_the_client() {
    let (lb, _origin) = start(|_| tagged("a", "users").header("Cache-Purge", "nothing")).await;
    for _ in 0..3 {
        let answer = lb.get("/").await;
        assert!(
            !answer.headers.has("cache-tag") && !answer.headers.has("cache-purge"),
            "{:?}",
            answer.headers
        );
    }
}

#[tokio::test]
async fn the_purge_is_done_before_the_write_s_answer_begins() {
    let (lb, _origin) = start(|seen| {
        if seen.method == "POST" {
            Reply::new(201).header("Cache-Purge", "users").body("x".repeat(100))
        } else {
            tagged("list", "users")
        }
    })
    .await;
    for _ in 0..50 {
        fill(&lb, &Request::get("/users")).await;
        let mut writer = lb.connect().await;
        writer.write(Request::post("/users", "x").bytes()).await;
        assert_eq!(writer.head("POST").await.unwrap().status, 201);
        assert!(
            !lb.get("/users").await.is_hit(),
            "a stale list was served after the write was answered"
        );
    }
}

#[tokio::test]
async fn tags_of_another_upstream_are_left_alone() {
    let answer = |seen: &lb_tests::origin::Seen| {
        if seen.method == "POST" {
            Reply::new(201).header("Cache-Purge", "users")
        } else {
            tagged("a", "users")
        }
    };
    let (a, b) = (Origin::start(answer).await, Origin::start(answer).await);
    let part = |name: &str, origin: &Origin| {
        let servers = servers(&[origin.addr()]);
        format!(
            "[upstreams.{name}]\nservers = [{servers}]\n\n[[routes]]\npath = \"/{name}\"\nupstream = \"{name}\"\ncache = {{ ttl = \"0s\" }}\n\n"
        )
    };
    let lb = Lb::start(&format!("{}{}", part("a", &a), part("b", &b))).await;
    for target in ["/a", "/b"] {
        fill(&lb, &Request::get(target)).await;
    }
    lb.send(&Request::post("/a/write", "x")).await;
    assert!(!lb.get("/a").await.is_hit());
    assert!(lb.get("/b").await.is_hit());
}

#[tokio::test]
async fn what_was_fetched_before_a_purge_never_enters_the_store_after_it() {
    let (lb, origin) = start(|seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("POST", _) => Reply::new(201).header("Cache-Purge", "users"),
        _ => tagged("old", "users").held(),
    })
    .await;
    let mut reader = lb.connect().await;
    reader.write(Request::get("/users").bytes()).await;
    until("the read is under way", async || origin.count_of("/users") == 1).await;
    assert_eq!(lb.send(&Request::post("/write", "x")).await.status, 201);
    origin.release(1);
    assert_eq!(reader.response("GET").await.unwrap().text(), "old");
    origin.set(|_| tagged("new", "users"));
    for _ in 0..3 {
        assert_eq!(lb.get("/users").await.text(), "new");
    }
}

#[tokio::test]
async fn nor_does_a_body_that_still_arrives() {
    let (lb, origin) = start(|seen| match seen.method.as_str() {
        "POST" => Reply::new(201).header("Cache-Purge", "users"),
        _ => Reply::script(vec![
            lb_tests::origin::Step::write(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nCache-Tag: users\r\nContent-Length: 6\r\n\r\nold",
            ),
            lb_tests::origin::Step::Hold,
            lb_tests::origin::Step::write("old"),
        ]),
    })
    .await;
    let mut reader = lb.connect().await;
    reader.write(Request::get("/users").bytes()).await;
    assert_eq!(reader.head("GET").await.unwrap().status, 200);
    assert_eq!(lb.send(&Request::post("/write", "x")).await.status, 201);
    origin.set(|_| tagged("new", "users"));
    assert_eq!(
        lb.get("/users").await.text(),
        "new",
        "what still arrives is not given to somebody who comes after the purge"
    );
    origin.release(1);
    let mut body = Vec::new();
    while let Some(data) = reader.data().await.unwrap() {
        body.extend_from_slice(&data);
    }
    assert_eq!(body, b"oldold", "the one who asked before gets all of it");
    for _ in 0..3 {
        assert_eq!(lb.get("/users").await.text(), "new");
    }
}

#[tokio::test]
async fn a_failed_write_s_purge_is_done_too() {
    // the origin knows best: it said so
    let (lb, _origin) = start(|seen| {
        if seen.method == "POST" {
            Reply::new(409).header("Cache-Purge", "users")
        } else {
            tagged("a", "users")
        }
    })
    .await;
    fill(&lb, &Request::get("/users")).await;
    assert_eq!(lb.send(&Request::post("/write", "x")).await.status, 409);
    assert!(!lb.get("/users").await.is_hit());
}

#[tokio::test]
async fn an_answer_that_is_tried_elsewhere_has_purged_all_the_same() {
    let refusing = Origin::start(|seen| match seen.method.as_str() {
        "PUT" => Reply::new(503).header("Cache-Purge", "users"),
        _ => tagged("list", "users"),
    })
    .await;
    let other = Origin::start(|_| tagged("list", "users")).await;
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\nbalance = \"round_robin\"\npassive_health = \"off\"\n\n[[routes]]\npath = \"/\"\nupstream = \"app\"\n\
         cache = {{ ttl = \"0s\" }}\n\n",
        servers(&[refusing.addr(), other.addr()])
    ))
    .await;
    fill(&lb, &Request::get("/users")).await;
    let write = Request::new("PUT", "/write").body("x");
    // One of two goes to the server that refuses, and from there to the other.
    for _ in 0..2 {
        assert_eq!(lb.send(&write).await.status, 200);
    }
    assert!(refusing.count_of("/write") > 0);
    assert!(!lb.get("/users").await.is_hit());
}

//! What is read once serves all, until a write.

use serde_json::json;

use crate::common::{Cached, Kind, OwnRedis, problem, until};
use crate::on_two;

on_two!(
    what_one_server_has_read_another_serves,
    an_answer_from_the_cache_is_the_same_as_one_without,
    every_write_is_seen_at_once_at_every_server,
    nobody_is_kept_who_is_not_there,
    a_user_that_comes_again_by_its_key_is_told_of,
);

async fn what_one_server_has_read_another_serves(cached: Cached) {
    let id = cached.user(0, "ada").await;
    for path in ["/users".into(), "/users?after=0&limit=5".into(), format!("/users/{id}")] {
        let first = cached.servers[0].get(&path).await;
        let hits = cached.servers[1].cache.counts().hits.get();
        let second = cached.servers[1].get(&path).await;
        assert_eq!((second.status, &second.body), (200, &first.body));
        assert_eq!(cached.servers[1].cache.counts().hits.get(), hits + 1, "{path}");
    }
}

async fn an_answer_from_the_cache_is_the_same_as_one_without(cached: Cached) {
    let id = cached.user(0, "ada").await;
    for path in [
        "/users".into(),
        "/users?after=0".into(),
        "/users?page=9".into(),
        format!("/users/{id}"),
    ] {
        let missed = cached.servers[0].get(&path).await;
        let hit = cached.servers[0].get(&path).await;
        let headers = |answer: &crate::common::Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("x-request-id");
            headers.remove("date");
            headers
        };
        assert_eq!(headers(&missed), headers(&hit), "{path}");
        assert_eq!(missed.body, hit.body);
        assert_eq!(hit.header("content-type"), "application/json");
    }
    let path = format!("/users/{id}");
    let etag = cached.servers[0].get(&path).await.header("etag").to_owned();
    let known = cached.servers[1].get(&path).header("if-none-match", &etag).await;
    assert_eq!((known.status, known.header("etag")), (304, etag.as_str()));
}

async fn every_write_is_seen_at_once_at_every_server(cached: Cached) {
    let id = cached.user(0, "ada").await;
    let path = format!("/users/{id}");
    let lists = ["/users", "/users?after=0", "/users?page=1&limit=1"];
    for round in 0..20 {
        // So that there is something that could be old.
        for server in &cached.servers {
            server.get(&path).await;
            for list in lists {
                server.get(list).await;
            }
        }
        let (writer, name) = (round % 2, format!("ada-{round}"));
        cached.rename(writer, id, &name).await;
        for server in &cached.servers {
            assert_eq!(server.name(id).await, name);
            for list in lists {
                assert_eq!(server.get(list).await.json()["users"][0]["name"], name.as_str(), "{list}");
            }
        }
        let other = cached.user(writer, &format!("other-{round}")).await;
        for server in &cached.servers {
            assert_eq!(server.get("/users").await.json()["total"], 2);
            assert_eq!(server.get(&format!("/users/{other}")).await.status, 200);
        }
        let gone = cached.servers[writer].ask("DELETE", &format!("/users/{other}")).await;
        assert_eq!(gone.status, 204);
        for server in &cached.servers {
            problem(&server.get(&format!("/users/{other}")).await, 404);
            assert_eq!(server.get("/users").await.json()["total"], 1);
        }
    }
}

async fn nobody_is_kept_who_is_not_there(cached: Cached) {
    for _ in 0..3 {
        problem(&cached.servers[0].get("/users/1").await, 404);
    }
    let id = cached.user(1, "ada").await;
    assert_eq!(id, 1);
    assert_eq!(cached.servers[0].name(1).await, "ada");
}

async fn a_user_that_comes_again_by_its_key_is_told_of(cached: Cached) {
    let body = json!({"name": "ada", "email": "ada@example.com"});
    let add = || cached.servers[0].ask("POST", "/users").header("idempotency-key", "k").json(&body);
    assert_eq!(add().await.status, 201);
    let told = cached.servers[0].cache.counts().told.get();
    assert_eq!(add().await.status, 201);
    assert_eq!(cached.servers[0].cache.counts().told.get(), told + 1);
}

#[tokio::test]
async fn a_redis_that_throws_away_what_it_likes_shows_nothing_old() {
    let redis = OwnRedis::start().await;
    let cached = Cached::at(Kind::Sqlite, 2, &redis.url()).await;
    let id = cached.user(0, "ada").await;
    for round in 0..30 {
        for server in &cached.servers {
            server.name(id).await;
            server.get("/users").await;
        }
        let keys = redis.keys("").await;
        for key in keys.iter().skip(round % 3).step_by(2) {
            redis.ask::<()>(&["DEL", key]).await.expect("Redis answers");
        }
        let name = format!("ada-{round}");
        cached.rename(round % 2, id, &name).await;
        for server in &cached.servers {
            assert_eq!(server.name(id).await, name);
            assert_eq!(server.get("/users").await.json()["users"][0]["name"], name.as_str());
        }
    }
}

#[tokio::test]
async fn a_redis_that_is_full_fails_no_request_and_shows_nothing_old() {
    let redis = OwnRedis::start().await;
    let cached = Cached::at(Kind::Sqlite, 2, &redis.url()).await;
    let id = cached.user(0, "ada").await;
    cached.servers[1].name(id).await;
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await.expect("Redis answers");
    for round in 0..2 {
        let name = format!("ada-{round}");
        cached.rename(0, id, &name).await;
        for server in &cached.servers {
            assert_eq!(server.name(id).await, name);
        }
    }
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await.expect("Redis answers");
    cached.until_trusted().await;
    cached.servers[0].name(id).await;
    let hits = cached.servers[1].cache.counts().hits.get();
    assert_eq!(cached.servers[1].name(id).await, "ada-1");
    assert_eq!(cached.servers[1].cache.counts().hits.get(), hits + 1);
}

#[tokio::test]
async fn what_is_in_the_cache_and_cannot_be_read_is_fetched() {
    let redis = OwnRedis::start().await;
    let cached = Cached::at(Kind::Sqlite, 1, &redis.url()).await;
    let id = cached.user(0, "ada").await;
    cached.servers[0].name(id).await;
    let keys = redis.keys(&format!(":user:{id}")).await;
    for garbage in ["", "garbage", "x {}"] {
        redis.ask::<()>(&["HSET", &keys[0], "v", garbage]).await.expect("Redis answers");
        assert_eq!(cached.servers[0].name(id).await, "ada", "{garbage:?}");
    }
    redis.ask::<()>(&["SET", &keys[0], "no hash"]).await.expect("Redis answers");
    assert_eq!(cached.servers[0].name(id).await, "ada");
}

#[tokio::test]
async fn two_databases_with_one_redis_do_not_see_each_other() {
    let redis = OwnRedis::start().await;
    let (mine, other) = (
        Cached::at(Kind::Sqlite, 1, &redis.url()).await,
        Cached::at(Kind::Postgres, 1, &redis.url()).await,
    );
    assert_eq!(mine.user(0, "ada").await, 1);
    assert_eq!(mine.servers[0].name(1).await, "ada");
    problem(&other.servers[0].get("/users/1").await, 404);
    assert_eq!(other.servers[0].get("/users").await.json()["total"], 0);
}

#[tokio::test]
async fn the_metrics_tell_of_it() {
    let cached = Cached::start(Kind::Sqlite, 1).await;
    let id = cached.user(0, "ada").await;
    for _ in 0..3 {
        cached.servers[0].name(id).await;
    }
    until("the note is removed", async || {
        cached.database.number("SELECT count(*) FROM outbox").await == 0
    })
    .await;
    let metrics = cached.servers[0].get("/metrics").await;
    for line in [
        "backend_cache_reads_total{result=\"hit\"} 2",
        "backend_cache_reads_total{result=\"miss\"} 1",
        "backend_cache_fills_total{result=\"stored\"} 1",
        "backend_cache_invalidations_total{by=\"write\"} 1",
        "backend_cache_connected 1",
        "backend_cache_errors_total 0",
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}: {}", metrics.text());
    }
}

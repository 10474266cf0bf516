//! Create, read, change, delete.

use futures::future::join_all;
use serde_json::json;

use crate::common::{Api, on_both, problem};

on_both!(
    a_created_user_is_found_at_its_location,
    values_come_back_as_they_were_sent,
    an_email_is_taken_whatever_its_case,
    of_many_at_once_with_one_email_a_single_one_wins,
    put_replaces_and_patch_changes_a_part,
    a_patch_of_nothing_changes_nothing,
    a_deleted_user_is_gone_and_its_id_never_comes_back,
    ids_have_64_bits,
    what_cannot_be_an_id_is_not_found,
);

async fn a_created_user_is_found_at_its_location(api: Api) {
    let created = api
        .ask("POST", "/users")
        .json(&json!({"name": "Ada", "email": "ada@example.com"}))
        .await;
    assert_eq!(created.status, 201);
    let found = api.get(created.header("location")).await;
    assert_eq!(found.status, 200);
    assert_eq!(found.json(), created.json());
    assert_eq!(found.header("etag"), created.header("etag"));
    assert_eq!(found.header("content-type"), "application/json");
    assert_eq!(
        found.json().as_object().expect("an object").len(),
        3,
        "id, name and email, and nothing else"
    );
}

async fn values_come_back_as_they_were_sent(api: Api) {
    let name = "O'Neil; DROP TABLE users; \u{202e}\u{1f600} \"\\ ü";
    let answer = api
        .ask("POST", "/users")
        .json(&json!({"name": format!("  {name}\t"), "email": "O'Neil+x@Example.COM"}))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let user = api.get(answer.header("location")).await.json();
    assert_eq!(user["name"], name, "only the white space around it is gone");
    assert_eq!(user["email"], "O'Neil+x@Example.COM");
}

async fn an_email_is_taken_whatever_its_case(api: Api) {
    let ada = api.user("Ada", "Ada@Example.com").await;
    let bob = api.user("Bob", "bob@example.com").await;
    let taken = json!({"name": "Eve", "email": "aDA@eXAMPLE.com"});
    problem(&api.ask("POST", "/users").json(&taken).await, 409);
    problem(&api.ask("PUT", &format!("/users/{bob}")).json(&taken).await, 409);
    problem(
        &api.ask("PATCH", &format!("/users/{bob}"))
            .json(&json!({"email": "ADA@EXAMPLE.COM"}))
            .await,
        409,
    );
    assert_eq!(
        api.get(&format!("/users/{bob}")).await.json()["name"],
        "Bob",
        "a refused change changes nothing"
    );
    let own = api
        .ask("PATCH", &format!("/users/{ada}"))
        .json(&json!({"email": "ada@example.com"}))
        .await;
    assert_eq!(own.status, 200, "one's own address in another case is free");
}

async fn of_many_at_once_with_one_email_a_single_one_wins(api: Api) {
    let ask = |n: usize| {
        api.ask("POST", "/users")
            .json(&json!({"name": format!("n{n}"), "email": "same@example.com"}))
    };
    let answers = join_all((0..20).map(|n| ask(n).into_future())).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![201], vec![409; 19]].concat());
    assert_eq!(api.get("/users").await.json()["total"], 1);
}

async fn put_replaces_and_patch_changes_a_part(api: Api) {
    let path = format!("/users/{}", api.user("Ada", "ada@example.com").await);
    let put = api
        .ask("PUT", &path)
        .json(&json!({"name": "Ada L.", "email": "al@example.com"}))
        .await;
    assert_eq!(
        (put.status, &put.json()["name"], &put.json()["email"]),
        (200, &json!("Ada L."), &json!("al@example.com"))
    );
    assert_eq!(api.ask("PUT", &path).json(&json!({"name": "x"})).await.wrong_fields(), ["email"]);
    let patch = api.ask("PATCH", &path).json(&json!({"name": "Lovelace"})).await;
    assert_eq!(
        (patch.status, &patch.json()["name"], &patch.json()["email"]),
        (200, &json!("Lovelace"), &json!("al@example.com"))
    );
    let found = api.get(&path).await;
    assert_eq!((found.json(), found.header("etag")), (patch.json(), patch.header("etag")));
    problem(
        &api.ask("PUT", "/users/99")
            .json(&json!({"name": "x", "email": "x@example.com"}))
            .await,
        404,
    );
    problem(&api.ask("PATCH", "/users/99").json(&json!({"name": "x"})).await, 404);
}

async fn a_patch_of_nothing_changes_nothing(api: Api) {
    let path = format!("/users/{}", api.user("Ada", "ada@example.com").await);
    let before = api.get(&path).await;
    let patch = api.ask("PATCH", &path).json(&json!({})).await;
    assert_eq!(
        (patch.status, patch.json(), patch.header("etag")),
        (200, before.json(), before.header("etag"))
    );
    problem(&api.ask("PATCH", "/users/99").json(&json!({})).await, 404);
}

async fn a_deleted_user_is_gone_and_its_id_never_comes_back(api: Api) {
    let id = api.user("Ada", "ada@example.com").await;
    let path = format!("/users/{id}");
    let deleted = api.ask("DELETE", &path).await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    problem(&api.get(&path).await, 404);
    problem(&api.ask("DELETE", &path).await, 404);
    assert!(api.user("Ada", "ada@example.com").await > id);
}

async fn ids_have_64_bits(api: Api) {
    // One more than the largest number that a JavaScript number can hold exactly.
    let sql = "INSERT INTO users (id, name, email) OVERRIDING SYSTEM VALUE VALUES (9007199254740993, 'Ada', 'ada@example.com')";
    let sqlite = "INSERT INTO users (id, name, email) VALUES (9007199254740993, 'Ada', 'ada@example.com')";
    api.database
        .execute(if api.database.url.starts_with("sqlite") { sqlite } else { sql })
        .await;
    let answer = api.get("/users/9007199254740993").await;
    assert!(answer.text().starts_with(r#"{"id":9007199254740993,"#), "{}", answer.text());
    assert_eq!(
        api.get("/users?after=9007199254740992").await.json()["users"][0]["id"],
        9_007_199_254_740_993_i64
    );
    problem(&api.get("/users/9223372036854775807").await, 404);
}

async fn what_cannot_be_an_id_is_not_found(api: Api) {
    let id = api.user("Ada", "ada@example.com").await;
    let body = json!({"name": "x", "email": "x@example.com"});
    for wrong in [
        "x",
        "0",
        "-1",
        "%2B1",
        "1.0",
        "1e0",
        "9223372036854775808",
        "99999999999999999999",
        "%ff",
        "%00",
        &format!("0{id}"),
    ] {
        let path = format!("/users/{wrong}");
        problem(&api.get(&path).await, 404);
        problem(&api.ask("PUT", &path).json(&body).await, 404);
        problem(&api.ask("PATCH", &path).json(&body).await, 404);
        problem(&api.ask("DELETE", &path).await, 404);
    }
}

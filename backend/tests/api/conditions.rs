//! ETags, and requests that depend on them.

use futures::future::join_all;
use serde_json::json;

use crate::common::{Api, on_both, problem};

on_both!(
    a_known_version_is_not_sent_again,
    a_write_to_another_version_is_refused,
    of_many_at_once_with_one_version_a_single_one_wins,
    a_missing_user_is_404_whatever_the_condition,
);

async fn a_known_version_is_not_sent_again(api: Api) {
    let path = format!("/users/{}", api.user("Ada", "ada@example.com").await);
    let etag = api.get(&path).await.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag} is strong");
    for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
        let answer = api.get(&path).header("if-none-match", &known).await;
        assert_eq!(
            (answer.status, answer.body.len(), answer.header("etag")),
            (304, 0, etag.as_str()),
            "{known}"
        );
    }
    assert_eq!(api.get(&path).header("if-none-match", "\"x\"").await.status, 200);
    let changed = api.ask("PATCH", &path).json(&json!({"name": "Bob"})).await;
    assert_ne!(changed.header("etag"), etag);
    assert_eq!(
        api.get(&path).header("if-none-match", &etag).await.status,
        200,
        "it is another version now"
    );
    assert_eq!(
        api.ask("HEAD", &path).header("if-none-match", changed.header("etag")).await.status,
        304
    );
}

async fn a_write_to_another_version_is_refused(api: Api) {
    let path = format!("/users/{}", api.user("Ada", "ada@example.com").await);
    let old = api.get(&path).await.header("etag").to_owned();
    let new = api.ask("PATCH", &path).header("if-match", &old).json(&json!({"name": "Bob"})).await;
    assert_eq!(new.status, 200);
    let new = new.header("etag").to_owned();
    let body = json!({"name": "Eve", "email": "eve@example.com"});
    for (name, value) in [
        ("if-match", old.as_str()),
        ("if-match", &format!("W/{new}")),
        ("if-match", "x"),
        ("if-none-match", "*"),
        ("if-none-match", &new),
    ] {
        problem(&api.ask("PUT", &path).header(name, value).json(&body).await, 412);
        problem(
            &api.ask("PATCH", &path).header(name, value).json(&json!({"name": "Eve"})).await,
            412,
        );
        problem(&api.ask("PATCH", &path).header(name, value).json(&json!({})).await, 412);
        problem(&api.ask("DELETE", &path).header(name, value).await, 412);
    }
    assert_eq!(api.get(&path).await.header("etag"), new, "nothing was changed");
    let listed = api.ask("PUT", &path).header("if-match", &format!("{old}, {new}")).json(&body).await;
    assert_eq!(listed.status, 200);
    assert_eq!(
        api.ask("PATCH", &path)
            .header("if-match", "*")
            .json(&json!({"name": "Mia"}))
            .await
            .status,
        200
    );
    let last = api.get(&path).await.header("etag").to_owned();
    assert_eq!(
        api.ask("DELETE", &path)
            .header("if-none-match", &old)
            .header("if-match", &last)
            .await
            .status,
        204
    );
}

async fn of_many_at_once_with_one_version_a_single_one_wins(api: Api) {
    let path = format!("/users/{}", api.user("Ada", "ada@example.com").await);
    let etag = api.get(&path).await.header("etag").to_owned();
    let ask = |n: usize| {
        api.ask("PATCH", &path)
            .header("if-match", &etag)
            .json(&json!({"name": format!("n{n}")}))
    };
    let answers = join_all((0..20).map(|n| ask(n).into_future())).await;
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 412).count(), 19);
    assert_eq!(api.get(&path).await.json(), winners[0].json());
}

async fn a_missing_user_is_404_whatever_the_condition(api: Api) {
    for (name, value) in [("if-match", "*"), ("if-match", "\"99-1\""), ("if-none-match", "*")] {
        problem(&api.get("/users/99").header(name, value).await, 404);
        problem(
            &api.ask("PATCH", "/users/99").header(name, value).json(&json!({"name": "x"})).await,
            404,
        );
        problem(&api.ask("DELETE", "/users/99").header(name, value).await, 404);
    }
}

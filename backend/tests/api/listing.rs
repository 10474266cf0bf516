//! Both paginations.

use serde_json::{Value, json};

use crate::common::{Api, on_both};

on_both!(
    pages_count_from_the_start,
    an_empty_list_is_a_list,
    keyset_visits_everybody_once_while_users_come_and_go,
    wrong_parameters_are_named,
);

async fn fill(api: &Api, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(api.user(&format!("n{n}"), &format!("n{n}@example.com")).await);
    }
    ids
}

fn ids(page: &Value) -> Vec<i64> {
    page["users"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|user| user["id"].as_i64().expect("a number"))
        .collect()
}

async fn pages_count_from_the_start(api: Api) {
    let all = fill(&api, 25).await;
    let first = api.get("/users").await.json();
    assert_eq!(
        (ids(&first), &first["page"], &first["limit"], &first["total"]),
        (all[..10].to_vec(), &json!(1), &json!(10), &json!(25))
    );
    let last = api.get("/users?page=3&limit=10").await.json();
    assert_eq!(
        (ids(&last), &last["page"], &last["total"]),
        (all[20..].to_vec(), &json!(3), &json!(25))
    );
    let behind = api.get("/users?page=4").await.json();
    assert_eq!(
        (ids(&behind), &behind["total"]),
        (vec![], &json!(25)),
        "the count is right on an empty page too"
    );
    assert_eq!(ids(&api.get("/users?limit=100").await.json()), all);
    assert_eq!(
        ids(&api.get("/users?page=92233720368547758&limit=100").await.json()),
        Vec::<i64>::new()
    );
}

async fn an_empty_list_is_a_list(api: Api) {
    assert_eq!(
        api.get("/users").await.json(),
        json!({"users": [], "page": 1, "limit": 10, "total": 0})
    );
    assert_eq!(
        api.get("/users?after=0").await.json(),
        json!({"users": [], "limit": 10, "next": null})
    );
}

async fn keyset_visits_everybody_once_while_users_come_and_go(api: Api) {
    let all = fill(&api, 25).await;
    let mut seen = Vec::new();
    let mut next = json!(0);
    while let Some(after) = next.as_i64() {
        let part = api.get(&format!("/users?after={after}&limit=5")).await.json();
        assert!(ids(&part).len() <= 5);
        seen.extend(ids(&part));
        next = part["next"].clone();
        // Whom one has seen goes away, which would shift pages.
        api.ask("DELETE", &format!("/users/{}", seen[seen.len() - 1])).await;
    }
    assert_eq!(seen, all);
}

async fn wrong_parameters_are_named(api: Api) {
    let cases = [
        ("limit=0", vec!["limit"]),
        ("limit=101", vec!["limit"]),
        ("limit=ten&page=-1", vec!["limit", "page"]),
        ("page=0", vec!["page"]),
        ("page=9223372036854775807&limit=100", vec!["page"]),
        ("after=x", vec!["after"]),
        ("after=1&page=1", vec!["after"]),
        ("limit=1&limit=2", vec!["limit"]),
    ];
    for (query, wrong) in cases {
        assert_eq!(api.get(&format!("/users?{query}")).await.wrong_fields(), wrong, "{query}");
    }
}

//! The real backends behind the cache: a client reads its own writes.

use lb_tests::backend::{Backends, create_user};
use lb_tests::client::{Request, Response};
use lb_tests::lb::Lb;
use lb_tests::servers;

fn names(list: &Response) -> Vec<String> {
    let json = list.json();
    let users = json["users"].as_array().unwrap_or_else(|| panic!("no users in {json}"));
    users
        .iter()
        .map(|user| user["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

async fn cached_users() -> (Lb, Backends) {
    let backends = Backends::start(3).await;
    let lb = Lb::start(&format!(
        "[upstreams.users]\nservers = [{}]\n\n[[routes]]\npath = \"/\"\nupstream = \"users\"\ncache = {{ ttl = \"0s\" }}\n",
        servers(&backends.addrs())
    ))
    .await;
    (lb, backends)
}

#[tokio::test]
async fn both_lists_show_what_was_just_created_and_the_second_of_two_equal_ones_is_a_hit() {
    let (lb, _backends) = cached_users().await;
    let list = "/users?page=1&limit=100";
    let mut expected = Vec::new();
    for number in 0..5 {
        let name = format!("user{number}");
        create_user(lb.listen(), &name).await;
        expected.push(name);
        let first = lb.get(list).await;
        assert_eq!((first.status, names(&first)), (200, expected.clone()));
        assert!(!first.is_hit());
        assert!(!first.headers.has("cache-tag"), "{:?}", first.headers);
        let second = lb.get(list).await;
        assert_eq!(names(&second), expected);
        assert!(second.is_hit(), "{:?}", second.headers);
    }
}

#[tokio::test]
async fn a_change_and_a_removal_show_at_once_too() {
    let (lb, _backends) = cached_users().await;
    let created = create_user(lb.listen(), "anna").await;
    let path = format!("/users/{}", created.json()["id"]);
    for _ in 0..2 {
        assert_eq!(lb.get(&path).await.json()["name"], "anna");
        assert_eq!(names(&lb.get("/users").await), ["anna"]);
    }
    let change = Request::new("PATCH", &path)
        .header("Content-Type", "application/json")
        .body("{\"name\":\"berta\"}");
    assert_eq!(lb.send(&change).await.status, 200);
    assert_eq!(lb.get(&path).await.json()["name"], "berta");
    assert_eq!(names(&lb.get("/users").await), ["berta"]);
    assert_eq!(lb.send(&Request::new("DELETE", &path)).await.status, 204);
    assert_eq!(lb.get(&path).await.status, 404);
    assert_eq!(names(&lb.get("/users").await), Vec::<String>::new());
}

#[tokio::test]
async fn a_change_of_one_user_leaves_the_others_in_the_store() {
    let (lb, _backends) = cached_users().await;
    let mut paths = Vec::new();
    for name in ["anna", "berta"] {
        paths.push(format!("/users/{}", create_user(lb.listen(), name).await.json()["id"]));
    }
    for path in &paths {
        super::fill(&lb, &Request::get(path)).await;
    }
    let change = Request::new("PATCH", &paths[0])
        .header("Content-Type", "application/json")
        .body("{\"name\":\"carla\"}");
    assert_eq!(lb.send(&change).await.status, 200);
    assert!(!lb.get(&paths[0]).await.is_hit());
    assert!(lb.get(&paths[1]).await.is_hit());
}

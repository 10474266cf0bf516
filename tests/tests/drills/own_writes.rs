//! Create, list, create, list, through the cache and three backends.

use lb_tests::backend::{Backends, create_user};
use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::load::Load;
use lb_tests::report::{full, row};
use lb_tests::servers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_shows_what_was_just_created() {
    let backends = Backends::start(3).await;
    let cache = "[[routes]]\npath = \"/\"\nupstream = \"users\"\ncache = { ttl = \"0s\" }\n";
    let lb = Lb::start(&format!("[upstreams.users]\nservers = [{}]\n\n{cache}", servers(&backends.addrs()))).await;
    // readers that keep the list in the store, or try to put an old one there
    let readers = Load::new(lb.listen(), &["/users?page=1&limit=100", "/users?page=1&limit=1"])
        .connections(8)
        .start();
    let rounds = if full() { 95 } else { 20 };
    let (mut created, mut hits, mut stale) = (Vec::new(), 0, 0);
    let mut connection = Connection::open(lb.listen()).await.unwrap();
    for number in 0..rounds {
        let user = create_user(lb.listen(), &format!("user{number}")).await.json();
        created.push(user["id"].clone());
        let list = Request::get("/users?page=1&limit=100");
        for again in [false, true] {
            let answer = connection.send(&list).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let ids: Vec<_> = answer.json()["users"]
                .as_array()
                .unwrap()
                .iter()
                .map(|user| user["id"].clone())
                .collect();
            stale += usize::from(ids != created);
            assert_eq!(ids, created, "round {number}, again: {again}");
            hits += usize::from(again && answer.is_hit());
        }
    }
    let counts = readers.stop().await;
    counts.assert_none_failed();
    // a reader beside may just be fetching the same list anew; without readers every second list is a hit (caching::users)
    assert!(hits * 10 >= rounds * 9, "only {hits} of {rounds} second lists were hits");
    let notes = format!(
        "{rounds} users created, {hits} of {rounds} second lists were hits, {} reads beside",
        counts.total()
    );
    row("create, list, create, list through the cache", rounds * 3, stale, None, &notes);
}

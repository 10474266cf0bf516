//! `lb purge`.

use lb_tests::command::{self, Outcome};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::until;

use super::named_route;

async fn filled() -> (Lb, Origin) {
    let origin = Origin::start(|seen| {
        let tag = if seen.target.starts_with("/users") { "users" } else { "other" };
        Reply::text("a").header("Cache-Tag", tag)
    })
    .await;
    let lb = Lb::start(&format!(
        "{}\n[routes.cache]\nttl = \"5m\"\n",
        named_route(&origin).replace("/users", "/")
    ))
    .await;
    for target in ["/users", "/users/1", "/users/1?x=1", "/other"] {
        until("it is stored", async || lb.get(target).await.is_hit()).await;
    }
    (lb, origin)
}

async fn purge(lb: &Lb, arguments: &[&str]) -> Outcome {
    let admin = lb.admin_addr().to_string();
    let all = [&["purge", "--admin", &admin], arguments].concat();
    command::lb(&all).await
}

#[tokio::test]
async fn it_purges_by_url_prefix_and_tag_and_all() {
    for (arguments, shown) in [
        (&["http://lb.test/users/1"][..], "1 response taken out\n"),
        (&["--url", "/users/1?x=1"], "1 response taken out\n"),
        (&["--prefix", "/users/"], "2 responses taken out\n"),
        (&["--tag", "users"], "3 responses taken out\n"),
        (&["--all"], "4 responses taken out\n"),
        (&["--tag", "nobody's & nothing"], "0 responses taken out\n"),
    ] {
        let (lb, _origin) = filled().await;
        let done = purge(&lb, arguments).await;
        assert_eq!((done.code, done.stdout.as_str()), (0, shown), "{arguments:?}: {done:?}");
    }
}

#[tokio::test]
async fn softly_it_only_marks() {
    let (lb, _origin) = filled().await;
    let done = purge(&lb, &["--all", "--soft"]).await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "4 responses marked stale\n"), "{done:?}");
    assert_eq!(lb.metrics().await.value("lb_cache_objects", &[]), Some(4.0));
    assert!(!lb.get("/users").await.is_hit());
}

#[tokio::test]
async fn exactly_one_thing_is_named() {
    let (lb, _origin) = filled().await;
    for arguments in [&["--soft"][..], &["/users", "--all"], &["--tag", "users", "--prefix", "/"]] {
        let done = purge(&lb, arguments).await;
        assert_eq!(done.code, 2, "{arguments:?}: {done:?}");
    }
    assert!(lb.get("/users").await.is_hit());
    let nobody = command::lb(&["purge", "--all", "--admin", "127.0.0.1:1"]).await;
    assert!(nobody.code == 1 && nobody.stderr.contains("no lb answers"), "{nobody:?}");
}

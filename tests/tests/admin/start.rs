//! How `lb run` begins, when it cannot.

use lb_tests::command;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;

use super::{named_route, plain};

#[tokio::test]
async fn a_wrong_file_is_2_and_nothing_listens() {
    let setup = Lb::setup("[upstreams.app]\nservers = [\"127.0.0.1:1\"]\nbalanse = \"random\"\n");
    let failed = command::lb(&["run", "-c", &setup.write().display().to_string()]).await;
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(
        failed.stderr.contains("balance") && failed.stderr.contains("lb.toml:"),
        "{}",
        failed.stderr
    );
}

#[tokio::test]
async fn a_missing_file_is_2() {
    let failed = command::lb(&["run", "-c", "/nowhere/lb.toml"]).await;
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(failed.stderr.contains("/nowhere/lb.toml"), "{}", failed.stderr);
}

#[tokio::test]
async fn an_admin_address_beyond_loopback_wants_a_token() {
    let setup = Lb::setup(
        "[server]\nlisten = [\"@LISTEN@\"]\nadmin = { listen = \"0.0.0.0:9\" }\n\n[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n",
    );
    let failed = command::lb(&["check", "-c", &setup.write().display().to_string()]).await;
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(failed.stderr.contains("token"), "{}", failed.stderr);
}

#[tokio::test]
async fn an_address_that_is_taken_is_1_and_named() {
    let (lb, _origin) = plain().await;
    let origin = Origin::named("other").await;
    let taken = lb.listen().to_string();
    let setup = Lb::setup(&format!(
        "[server]\nlisten = [\"{taken}\"]\nadmin = \"@ADMIN@\"\n\n{}",
        named_route(&origin)
    ));
    let failed = command::lb(&["run", "-c", &setup.write().display().to_string()]).await;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains(&taken), "{}", failed.stderr);
    assert_eq!(lb.get("/users").await.text(), "origin", "the other one goes on");
}

//! `lb server`.

use lb_tests::client::Request;
use lb_tests::command::{self, Outcome};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::ports::Port;
use lb_tests::servers;
use lb_tests::wait::until;

use super::plain;

async fn server(lb: &Lb, arguments: &[&str]) -> Outcome {
    let mut all = vec!["server"];
    all.extend(arguments);
    let admin = lb.admin_addr().to_string();
    all.extend(["--admin", &admin]);
    command::lb(&all).await
}

#[tokio::test]
async fn it_drains_and_readies_and_takes_down_and_weighs() {
    let (lb, origin) = plain().await;
    let address = origin.addr().to_string();
    for (arguments, shown) in [
        (vec!["drain", "users", &address], "draining, weight 1, 0 in flight"),
        (vec!["weight", "users", &address, "3"], "draining, weight 3"),
        (vec!["down", &address], "down, weight 3"),
        (vec!["ready", &address], "healthy, weight 3"),
        (vec!["weight", &address, "1"], "healthy, weight 1"),
    ] {
        let done = server(&lb, &arguments).await;
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
        let due = format!("users {address}: {shown}");
        assert!(done.stdout.starts_with(&due), "{due:?} is not the start of {done:?}");
        let list = server(&lb, &["list"]).await;
        assert_eq!(list.code, 0, "{list:?}");
        let state = shown.split(',').next().unwrap();
        assert!(list.stdout.contains(&address) && list.stdout.contains(state), "{list:?}");
        assert!(command::lb(&["status", "-c", &lb.config_path()]).await.stdout.contains(state));
    }
    let by_file = command::lb(&["server", "drain", &address, "-c", &lb.config_path()]).await;
    assert_eq!(by_file.code, 0, "{by_file:?}");
    lb.get("/users").await.assert_problem(503);
}

#[tokio::test]
async fn drain_with_wait_returns_when_nothing_is_under_way() {
    let (lb, origin) = plain().await;
    let address = origin.addr().to_string();
    origin.set(|_| Reply::text("late").held());
    let mut connection = lb.connect().await;
    connection.write(Request::get("/users").bytes()).await;
    origin.wait_for(1).await;
    let late = server(&lb, &["drain", &address, "--wait", "--timeout", "300ms"]).await;
    assert_eq!(late.code, 1, "{late:?}");
    assert!(late.stderr.contains("1 still under way"), "{late:?}");
    let arguments = ["drain", "users", &address, "--wait"];
    let waiting = server(&lb, &arguments);
    let release = async {
        until("it is drained", async || {
            lb.server("users", origin.addr()).await.state == "draining"
        })
        .await;
        origin.release_all();
        connection.response("GET").await.unwrap()
    };
    let (done, answer) = tokio::join!(waiting, release);
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"), "what was under way went on");
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("draining, weight 1, 0 in flight"), "{done:?}");
}

#[tokio::test]
async fn waiting_ends_when_somebody_makes_it_ready() {
    let (lb, origin) = plain().await;
    let address = origin.addr().to_string();
    origin.set(|_| Reply::text("late").held());
    let mut connection = lb.connect().await;
    connection.write(Request::get("/users").bytes()).await;
    origin.wait_for(1).await;
    let arguments = ["drain", "--wait", &address];
    let ready = async {
        until("it is drained", async || {
            lb.server("users", origin.addr()).await.state == "draining"
        })
        .await;
        lb.set_state("users", origin.addr(), "ready").await;
    };
    let (done, ()) = tokio::join!(server(&lb, &arguments), ready);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("ready again"), "{done:?}");
    origin.release_all();
    connection.response("GET").await.unwrap();
}

#[tokio::test]
async fn with_several_upstreams_the_name_is_needed() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let lb = Lb::start(&format!(
        "[upstreams.one]\nservers = [{}]\n\n[upstreams.two]\nservers = [{}]\n\n[[routes]]\npath = \"/one\"\nupstream = \"one\"\n\n[[routes]]\npath = \"/two\"\nupstream = \"two\"\n",
        servers(&[a.addr()]),
        servers(&[b.addr()])
    ))
    .await;
    let (a, b) = (a.addr().to_string(), b.addr().to_string());
    let unnamed = server(&lb, &["drain", &a]).await;
    assert_eq!(unnamed.code, 2, "{unnamed:?}");
    assert!(unnamed.stderr.contains("one, two"), "{unnamed:?}");
    assert_eq!(server(&lb, &["drain", "one", &a]).await.code, 0);
    lb.get("/one").await.assert_problem(503);
    assert_eq!(lb.get("/two").await.text(), "b");
    let list = server(&lb, &["list", "two"]).await;
    assert!(list.stdout.contains(&b) && !list.stdout.contains(&a), "{list:?}");
    let other = server(&lb, &["list", "three"]).await;
    assert_eq!(other.code, 1, "{other:?}");
    let elsewhere = server(&lb, &["drain", "one", &b]).await;
    assert_eq!(elsewhere.code, 1, "{elsewhere:?}");
    assert!(elsewhere.stderr.contains(&a), "it says who there is: {elsewhere:?}");
}

#[tokio::test]
async fn its_command_line_is_checked_and_explained() {
    let nobody = Port::pick().address().to_string();
    for arguments in [
        vec!["server"],
        vec!["server", "stop"],
        vec!["server", "drain"],
        vec!["server", "drain", "a", "b", "c"],
        vec!["server", "weight", "127.0.0.1:1"],
        vec!["server", "weight", "127.0.0.1:1", "heavy", "--admin", &nobody],
        vec!["server", "weight", "127.0.0.1:1", "65536", "--admin", &nobody],
        vec!["server", "drain", "127.0.0.1:1", "--timeout", "5s"],
        vec!["server", "drain", "127.0.0.1:1", "--wait", "--timeout", "soon"],
    ] {
        let failed = command::lb(&arguments).await;
        assert_eq!(failed.code, 2, "{arguments:?}: {failed:?}");
        assert!(!failed.stderr.is_empty(), "{arguments:?}");
    }
    let alone = command::lb(&["server", "drain", "app", "127.0.0.1:1", "--admin", &nobody]).await;
    assert_eq!(alone.code, 1, "{alone:?}");
    assert!(alone.stderr.contains(&nobody), "{alone:?}");
    for what in ["list", "drain", "ready", "down", "weight"] {
        let help = command::lb(&["server", what, "--help"]).await;
        assert_eq!(help.code, 0, "{what}");
        let example = format!("Example:\n  lb server {what}");
        assert!(help.stdout.contains(&example), "{}", help.stdout);
    }
}

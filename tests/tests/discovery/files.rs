//! `file://servers.toml`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::process::binary;
use lb_tests::servers;
use lb_tests::wait::until;

use super::*;

const CONFIG: &str = "[upstreams.app]\nservers = [\"file://servers/app.toml\"]\n";

fn list(origins: &[&Origin]) -> String {
    let addresses: Vec<_> = origins.iter().map(|origin| origin.addr()).collect();
    format!("servers = [{}]\n", servers(&addresses))
}

fn write(lb: &Lb, text: &str) {
    fs::write(lb.folder().join("servers/app.toml"), text).unwrap();
}

#[tokio::test]
async fn a_changed_file_is_taken_under_load_and_a_broken_one_is_not() {
    let (one, two, three) = (Origin::named("one").await, Origin::named("two").await, Origin::named("three").await);
    let lb = Lb::setup(CONFIG).file("servers/app.toml", &list(&[&one])).start().await;
    wait_for_servers(&lb, &[&one]).await;
    let load = load(&lb);
    write(&lb, &list(&[&one, &two]));
    wait_for_servers(&lb, &[&one, &two]).await;
    wait_for_use(&[&one, &two]).await;

    write(&lb, "servers = [\n  \"127.0.0.1:1\",\n  \"nonsense\",\n]\n");
    wait_for_failure(&lb).await;
    until("it says where", async || lb.stderr().contains("servers/app.toml:3:3")).await;
    wait_for_servers(&lb, &[&one, &two]).await;
    assert_eq!(lb.metrics().await.sum("lb_discovery_failures_total", &[("upstream", "app")]), 1.0);
    write(&lb, "servers = []\n");
    until("the other fault is shown", async || {
        discovery(&lb).await["error"]
            .as_str()
            .is_some_and(|error| error.contains("is empty"))
    })
    .await;
    write(&lb, &list(&[&one, &two]));
    until("it is as it was", async || discovery(&lb).await["error"].is_null()).await;

    fs::remove_file(lb.folder().join("servers/app.toml")).unwrap();
    until("it is gone", async || {
        discovery(&lb).await["error"]
            .as_str()
            .is_some_and(|error| error.contains("there is no such file"))
    })
    .await;
    wait_for_servers(&lb, &[&one, &two]).await;
    write(&lb, &format!("servers = [{{ address = \"{}\", weight = 5 }}]\n", three.addr()));
    wait_for_servers(&lb, &[&three]).await;
    wait_for_use(&[&three]).await;
    load.stop().await.assert_none_failed();
    let status = lb.status().await;
    assert_eq!(status["upstreams"][0]["servers"][0]["weight"], 5);
}

#[tokio::test]
async fn a_link_that_is_swapped_is_a_change() {
    let (one, two) = (Origin::named("one").await, Origin::named("two").await);
    let lb = Lb::setup("[upstreams.app]\nservers = [\"file://@DIR@/live/app.toml\"]\n")
        .file("v1/app.toml", &list(&[&one]))
        .file("v2/app.toml", &list(&[&two]));
    symlink("v1", lb.folder().join("live")).unwrap();
    let lb = lb.start().await;
    let load = load(&lb);
    wait_for_use(&[&one]).await;
    // as Kubernetes does with `..data`
    symlink("v2", lb.folder().join("next")).unwrap();
    fs::rename(lb.folder().join("next"), lb.folder().join("live")).unwrap();
    wait_for_servers(&lb, &[&two]).await;
    wait_for_use(&[&two]).await;
    load.stop().await.assert_none_failed();
}

#[tokio::test]
async fn names_in_a_file_are_looked_up_before_it_is_taken() {
    let (one, mut dns) = (Origin::named("one").await, Dns::start().await);
    let two = one.beside([127, 0, 0, 2], "two").await;
    set(&mut dns, &[&two]);
    let lb = Lb::setup(CONFIG).file("servers/app.toml", &list(&[&one])).start().await;
    let load = load(&lb);
    load.more(50).await;
    write(&lb, named(&dns, &one, "").trim_start_matches("[upstreams.app]\n"));
    wait_for_servers(&lb, &[&two]).await;
    set(&mut dns, &[&one, &two]);
    wait_for_servers(&lb, &[&one, &two]).await;
    write(&lb, &list(&[&one]));
    wait_for_servers(&lb, &[&one]).await;
    load.stop().await.assert_none_failed();
}

#[tokio::test]
async fn a_reload_with_a_broken_file_changes_nothing() {
    let one = Origin::named("one").await;
    let mut lb = Lb::setup(CONFIG).file("servers/app.toml", &list(&[&one])).start().await;
    write(&lb, "servers = 1\n");
    lb.write_config(&format!("{CONFIG}keepalive = 1\n"));
    assert!(!lb.hang_up().await);
    assert_eq!(lb.get("/").await.text(), "one");
    write(&lb, &list(&[&one]));
    assert!(lb.hang_up().await, "{}", lb.stderr());
    assert_eq!(lb.get("/").await.text(), "one");
}

fn lb_on(folder: &Path, command: &str) -> (Option<i32>, String) {
    let output = Command::new(binary("lb"))
        .args([command, "-c", "lb.toml"])
        .current_dir(folder)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_file_that_is_not_there_is_an_error_at_start_and_none_for_a_check() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"off\"\n\n{CONFIG}");
    fs::write(folder.path().join("lb.toml"), config).unwrap();
    assert_eq!(lb_on(folder.path(), "check"), (Some(0), String::new()));
    let (code, said) = lb_on(folder.path(), "run");
    assert_eq!(code, Some(2));
    assert!(
        said.contains("lb.toml:6:12") && said.contains("servers/app.toml: there is no such file"),
        "{said}"
    );
}

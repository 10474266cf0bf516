//! Files that change while they are served.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

/// Two looks, which is how often a change has to be seen.
fn settle(tls: &Tls) {
    tls.look();
    tls.look();
}

/// Swaps the folder that `..data` leads to, as Kubernetes does: at once, by renaming a link.
fn swap(folder: &Path, to: &str) {
    symlink(to, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn a_swapped_link_brings_the_new_certificate_and_sessions_go_on() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    let (old, new) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    for (name, issued) in [("..1", &old), ("..2", &new)] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        issued.write(&folder.path().join(name), "a");
    }
    swap(folder.path(), "..1");
    for file in ["a.pem", "a.key"] {
        symlink(Path::new("..data").join(file), folder.path().join(file)).unwrap();
    }
    let tls = loaded(folder.path(), &[("a", None)]);
    let client = Client::new(&authority);
    assert_eq!(client.serial(only(&tls), "a.test").await, old.serial());
    settle(&tls);
    assert_eq!(client.serial(only(&tls), "a.test").await, old.serial());

    swap(folder.path(), "..2");
    tls.look();
    assert_eq!(
        client.serial(only(&tls), "a.test").await,
        old.serial(),
        "it may still be being written"
    );
    tls.look();
    assert_eq!(client.shake(only(&tls), "a.test").await.unwrap().kind, HandshakeKind::Resumed);
    assert_eq!(Client::new(&authority).serial(only(&tls), "a.test").await, new.serial());
    assert_eq!(only(&tls).certificates()[0].serial, new.serial());
}

#[tokio::test]
async fn between_two_writes_and_after_a_broken_one_the_last_good_pair_is_served() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    let (old, new) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    old.write(folder.path(), "a");
    let tls = loaded(folder.path(), &[("a", None)]);
    let serial = async || Client::new(&authority).serial(only(&tls), "a.test").await;

    std::fs::write(folder.path().join("a.pem"), &new.certificate).unwrap();
    settle(&tls);
    assert_eq!(serial().await, old.serial());
    std::fs::write(folder.path().join("a.key"), &new.key).unwrap();
    settle(&tls);
    assert_eq!(serial().await, new.serial());

    let newer = authority.issue(&["a.test"]);
    for broken in [
        "",
        "-----BEGIN CERTIFICATE-----\n",
        &newer.certificate[..newer.certificate.len() / 2],
        "nonsense",
    ] {
        std::fs::write(folder.path().join("a.pem"), broken).unwrap();
        settle(&tls);
        assert_eq!(serial().await, new.serial(), "{broken:?}");
    }
    std::fs::remove_file(folder.path().join("a.pem")).unwrap();
    settle(&tls);
    assert_eq!(serial().await, new.serial());
    newer.write(folder.path(), "a");
    settle(&tls);
    assert_eq!(serial().await, newer.serial());
}

/// A file that is written in pieces may be whole at some of them: its first certificate without the one that signed it.
#[tokio::test]
async fn what_is_seen_only_once_is_not_taken() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    let (old, new) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    old.write(folder.path(), "a");
    let tls = loaded(folder.path(), &[("a", None)]);
    new.write(folder.path(), "a");
    tls.look();
    let whole = format!("{}{}", new.certificate, authority.0.pem());
    std::fs::write(folder.path().join("a.pem"), whole).unwrap();
    tls.look();
    assert_eq!(Client::new(&authority).serial(only(&tls), "a.test").await, old.serial());
    tls.look();
    assert_eq!(Client::new(&authority).serial(only(&tls), "a.test").await, new.serial());
}

#[tokio::test]
async fn one_entry_that_is_broken_keeps_no_other_from_its_renewal() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    let (a, b) = (authority.issue(&["a.test"]), authority.issue(&["b.test"]));
    a.write(folder.path(), "a");
    b.write(folder.path(), "b");
    let tls = loaded(folder.path(), &[("a", None), ("b", None)]);
    std::fs::write(folder.path().join("a.pem"), "broken").unwrap();
    let new = authority.issue(&["b.test", "c.test"]);
    new.write(folder.path(), "b");
    settle(&tls);
    let client = Client::new(&authority);
    assert_eq!(client.serial(only(&tls), "a.test").await, a.serial());
    assert_eq!(client.serial(only(&tls), "c.test").await, new.serial());
}

#[tokio::test]
async fn other_authorities_for_clients_end_the_sessions_that_the_old_ones_let_in() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    let (people, others) = (Authority::new("people"), Authority::new("others"));
    authority.issue(&["a.test"]).write(folder.path(), "a");
    let ca = folder.path().join("people.pem");
    people.write(&ca);
    let tls = loaded(folder.path(), &[("a", Some("people"))]);
    let client = Client::with(&authority, rustls::ALL_VERSIONS, Some(&people.issue(&["me"])));
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        assert_eq!(client.shake(only(&tls), "a.test").await.unwrap().kind, expected);
    }
    others.write(&ca);
    settle(&tls);
    assert!(client.shake(only(&tls), "a.test").await.is_err());
}

#[tokio::test]
async fn a_reload_reads_the_files_at_once_and_keeps_sessions() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    authority.issue(&["a.test"]).write(folder.path(), "a");
    let before = loaded(folder.path(), &[("a", None)]);
    let client = Client::new(&authority);
    client.shake(only(&before), "a.test").await.unwrap();
    let new = authority.issue(&["a.test"]);
    new.write(folder.path(), "a");
    let after = load(&config(folder.path(), &listener(&[("a", None)])), Some(&before)).unwrap();
    assert_eq!(client.shake(only(&after), "a.test").await.unwrap().kind, HandshakeKind::Resumed);
    assert_eq!(Client::new(&authority).serial(only(&after), "a.test").await, new.serial());
}

#[tokio::test]
async fn files_are_looked_at_by_themselves() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    authority.issue(&["a.test"]).write(folder.path(), "a");
    let tls = Arc::new(loaded(folder.path(), &[("a", None)]));
    let watched = tls.clone();
    let watching = tokio::spawn(super::super::watch(move || watched.clone()));
    let new = authority.issue(&["a.test"]);
    new.write(folder.path(), "a");
    let renewed = async {
        while Client::new(&authority).serial(only(&tls), "a.test").await != new.serial() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), renewed)
        .await
        .expect("the new certificate");
    watching.abort();
}

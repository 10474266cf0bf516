//! Listeners come and go by a reload, and nobody who uses another one notices.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lb_tests::client::{self, Connection, Failure, Request};
use lb_tests::command;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::tls::{Authority, ClientTls};
use lb_tests::wait::until;
use tokio::task::JoinSet;

use super::versioned;

/// A configuration with these addresses, of which `@LISTEN@` has to be one as long as the test connects there.
fn at(listen: &str, origin: &Origin, version: usize) -> String {
    format!(
        "[server]\nlisten = [{listen}]\nadmin = \"@ADMIN@\"\n\n{}",
        versioned(origin, version)
    )
}

const BOTH: &str = "\"@LISTEN@\", \"@LISTEN2@\"";
const FIRST: &str = "\"@LISTEN@\"";

async fn refuses(address: SocketAddr) -> bool {
    matches!(Connection::open(address).await, Err(Failure::Connect(_)))
}

/// The inodes of the sockets that listen at the second address.
fn listening(lb: &Lb) -> BTreeSet<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let port = format!(":{:04X}", lb.listen2().port());
    lines
        .filter(|fields| fields[1].ends_with(&port) && fields[3] == "0A")
        .map(|fields| fields[9].to_owned())
        .collect()
}

/// Clients that connect anew for each request, all the time.
struct Clients {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<(usize, Vec<String>)>,
}

impl Clients {
    fn start(to: SocketAddr) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let stop = stop.clone();
            tasks.spawn(async move {
                let (mut sent, mut failed) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let answer = client::send(to, &Request::get("/a").header("Connection", "close")).await;
                    sent += 1;
                    match answer {
                        Ok(answer) if answer.status == 200 && !answer.cut && answer.text() == "origin" => {}
                        other => failed.push(format!("{other:?}")),
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                (sent, failed)
            });
        }
        Clients { stop, tasks }
    }

    async fn assert_none_failed(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut sent, mut failed) = (0, Vec::new());
        for (count, failures) in self.tasks.join_all().await {
            sent += count;
            failed.extend(failures);
        }
        assert!(sent > 0 && failed.is_empty(), "{} of {sent} failed: {failed:?}", failed.len());
    }
}

#[tokio::test]
async fn an_address_that_a_reload_adds_serves_when_the_reload_is_done() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&at(FIRST, &origin, 1)).await;
    assert!(refuses(lb.listen2()).await);
    lb.write_config(&at(BOTH, &origin, 2));
    let done = command::lb(&["reload", "-c", &lb.config_path()]).await;
    assert_eq!(done.code, 0, "{done:?}");
    let line = format!("listener added: {}", lb.listen2());
    assert!(done.stdout.contains(&line), "{line:?} is not in {:?}", done.stdout);
    for address in [lb.listen(), lb.listen2()] {
        assert_eq!(client::send(address, &Request::get("/version")).await.unwrap().text(), "2");
    }
}

#[tokio::test]
async fn a_removed_address_refuses_and_its_connections_go_on() {
    let origin = Origin::start(|seen| {
        let answer = lb_tests::origin::Reply::text("origin");
        if seen.target == "/held" { answer.held() } else { answer }
    })
    .await;
    let mut lb = Lb::start(&at(BOTH, &origin, 1)).await;
    let clients = Clients::start(lb.listen());
    let mut under_way = Connection::open(lb.listen2()).await.unwrap();
    under_way.write(Request::get("/held").bytes()).await;
    let mut idle = Connection::open(lb.listen2()).await.unwrap();
    assert_eq!(idle.send(&Request::get("/version")).await.unwrap().text(), "1");
    until("the request is under way", async || {
        origin.active() >= 1 && origin.requests().iter().any(|seen| seen.target == "/held")
    })
    .await;

    lb.write_config(&at(FIRST, &origin, 2));
    let answer = lb.reload_by_api().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["changes"]["listeners"]["removed"][0], lb.listen2().to_string());
    assert!(refuses(lb.listen2()).await, "it is closed when the reload is done");
    assert_eq!(idle.send(&Request::get("/version")).await.unwrap().text(), "2");
    origin.release_all();
    assert_eq!(under_way.response("GET").await.unwrap().text(), "origin");
    assert_eq!(under_way.send(&Request::get("/version")).await.unwrap().text(), "2");
    clients.assert_none_failed().await;
}

#[tokio::test]
async fn whom_the_kernel_had_let_in_at_a_removed_address_is_served() {
    let origin = Origin::held("late").await;
    let config = |listen, version| format!("{}\n[limits]\nmax_connections = 2\n", at(listen, &origin, version));
    let mut lb = Lb::start(&config(BOTH, 1)).await;
    until("the harness's own connections are gone", async || {
        lb.metrics().await.sum("lb_connections", &[]) == 0.0
    })
    .await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/").header("Connection", "close").bytes()).await;
        busy.push(connection);
    }
    origin.wait_for(2).await;
    // There is no room for these yet.
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut connection = Connection::open(lb.listen2()).await.unwrap();
        connection
            .write(Request::get("/version").header("Connection", "close").bytes())
            .await;
        waiting.push(connection);
    }
    lb.write_config(&config(FIRST, 2));
    assert_eq!(lb.reload_by_api().await.status, 200);
    origin.release_all();
    for connection in &mut waiting {
        assert_eq!(connection.response("GET").await.unwrap().text(), "2");
    }
    until("it refuses", async || refuses(lb.listen2()).await).await;
    for connection in &mut busy {
        assert_eq!(connection.response("GET").await.unwrap().text(), "late");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_changes_nothing() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&at(FIRST, &origin, 1)).await;
    let clients = Clients::start(lb.listen());
    let foreign = TcpListener::bind(lb.listen2()).unwrap();
    let third = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for listen in [BOTH, "\"@LISTEN2@\"", &format!("\"{third}\", \"@LISTEN2@\"")] {
        lb.write_config(&at(listen, &origin, 2));
        let answer = lb.reload_by_api().await;
        assert_eq!(answer.status, 400);
        let error = format!("server.listen: cannot listen on {}: Address already in use", lb.listen2());
        assert!(answer.text().contains(&error), "{error:?} is not in {}", answer.text());
        assert_eq!(lb.get("/version").await.text(), "1", "nothing of it is used");
        assert!(refuses(third).await, "nothing of it is listened on");
    }
    assert_eq!(lb.reloads().await, (0, 3));
    drop(foreign);
    until("the address is free", async || refuses(lb.listen2()).await).await;
    lb.reload(&at(BOTH, &origin, 2)).await;
    assert_eq!(client::send(lb.listen2(), &Request::get("/version")).await.unwrap().text(), "2");
    clients.assert_none_failed().await;
}

#[tokio::test]
async fn an_address_may_become_wider_and_narrower_without_a_refused_client() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&at(FIRST, &origin, 1)).await;
    let clients = Clients::start(lb.listen());
    let wide = format!("\"0.0.0.0:{}\"", lb.listen().port());
    let both = format!("{FIRST}, {wide}");
    for (version, listen) in [&wide, FIRST, &both, &wide, &both, FIRST, &wide, &both, FIRST]
        .into_iter()
        .enumerate()
    {
        lb.reload(&at(listen, &origin, version)).await;
        assert_eq!(lb.get("/version").await.text(), version.to_string());
    }
    clients.assert_none_failed().await;
}

#[tokio::test]
async fn an_address_may_go_over_to_tls_and_back_with_its_sockets() {
    let (origin, authority) = (Origin::named("origin").await, Authority::new("lb's authority"));
    let (pair, tls) = (authority.issue(&["lb.test"]), ClientTls::trusting(&authority).build());
    let certificate = "[[server.tls]]\nlisten = \"@LISTEN2@\"\ncertificate = \"lb.pem\"\nkey = \"lb.key\"\n\n";
    let over_tls = |version| at(FIRST, &origin, version).replacen("\n\n", &format!("\n\n{certificate}"), 1);
    let setup = Lb::setup(&at(BOTH, &origin, 1));
    let setup = setup.file("lb.pem", &pair.certificate).file("lb.key", &pair.key);
    let mut lb = setup.start().await;
    let mut plain = Connection::open(lb.listen2()).await.unwrap();
    assert_eq!(plain.send(&Request::get("/version")).await.unwrap().text(), "1");
    let sockets = listening(&lb);

    lb.write_config(&over_tls(2));
    let answer = lb.reload_by_api().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["changes"]["listeners"]["changed"][0], lb.listen2().to_string());
    assert_eq!(
        plain.send(&Request::get("/version")).await.unwrap().text(),
        "2",
        "it stays what it is"
    );
    let mut secret = Connection::open_tls(lb.listen2(), &tls, "lb.test").await.unwrap();
    assert_eq!(secret.send(&Request::get("/version")).await.unwrap().text(), "2");

    lb.reload(&at(BOTH, &origin, 3)).await;
    assert_eq!(
        secret.send(&Request::get("/version")).await.unwrap().text(),
        "3",
        "it stays what it is"
    );
    assert_eq!(client::send(lb.listen2(), &Request::get("/version")).await.unwrap().text(), "3");
    assert_eq!(listening(&lb), sockets, "the same sockets");

    // One that is removed serves those whom it has as before.
    lb.reload(&over_tls(4)).await;
    let mut secret = Connection::open_tls(lb.listen2(), &tls, "lb.test").await.unwrap();
    lb.reload(&at(FIRST, &origin, 5)).await;
    assert_eq!(secret.send(&Request::get("/version")).await.unwrap().text(), "5");
    assert!(refuses(lb.listen2()).await);
}

#[tokio::test]
async fn twenty_reloads_leave_no_descriptor_behind() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&at(FIRST, &origin, 0)).await;
    let clients = Clients::start(lb.listen());
    let mut before = 0;
    for version in 1..=20 {
        let listen = if version % 2 == 1 { BOTH } else { FIRST };
        lb.reload(&at(listen, &origin, version)).await;
        assert_eq!(listening(&lb).is_empty(), version % 2 == 0);
        if version % 2 == 1 {
            assert_eq!(
                client::send(lb.listen2(), &Request::get("/version")).await.unwrap().text(),
                version.to_string()
            );
        }
        if version == 2 {
            before = lb.process.footprint().descriptors;
        }
    }
    clients.assert_none_failed().await;
    // Connections that end, and those to the origin, come and go.
    until("as many descriptors are open as after the first reloads", async || {
        lb.process.footprint().descriptors <= before + 4
    })
    .await;
}

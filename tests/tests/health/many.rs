//! A thousand servers, some of which hang, are checked without a stall.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::ports::Port;
use lb_tests::wait::until_within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

const GOOD: usize = 900;
const HANGING: usize = 100;
const INTERVAL: Duration = Duration::from_secs(2);

/// Checks so far, by the address that was asked.
type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Every one has an address of its own in 127.0.0.0/8; those that hang come first in the file.
fn address(number: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    Ipv4Addr::new(127, 77, high, low)
}

fn hangs(own: IpAddr) -> bool {
    (0..HANGING).any(|number| own == address(number))
}

async fn serve(listener: TcpListener, counts: Counts) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, counts.clone()));
    }
}

async fn answer(mut stream: TcpStream, counts: Counts) -> std::io::Result<()> {
    let own = stream.local_addr()?.ip();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    *counts.lock().unwrap().entry(own).or_default() += 1;
    if hangs(own) {
        // Until the check gives up.
        stream.read_to_end(&mut request).await?;
        return Ok(());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await
}

fn config(port: u16, app: &Origin) -> String {
    let mut servers = String::new();
    for number in 0..HANGING + GOOD {
        write!(servers, "\"{}:{port}\", ", address(number)).unwrap();
    }
    format!(
        "[upstreams.many]\nservers = [{servers}]\nhealth_check = {{ path = \"/ready\", interval = \"2s\", timeout = \"1s\" }}\n\n[upstreams.app]\nservers = [\"{}\"]\n\n[[routes]]\nupstream = \"app\"\n\n[[routes]]\npath = \"/many\"\nupstream = \"many\"\n",
        app.addr()
    )
}

/// The 95th percentile of so many requests one after the other.
async fn p95(lb: &Lb, requests: usize) -> Duration {
    let mut connection = lb.connect().await;
    let mut times = Vec::with_capacity(requests);
    for _ in 0..requests {
        let start = Instant::now();
        connection.write(lb_tests::client::Request::get("/").bytes()).await;
        assert_eq!(connection.response("GET").await.unwrap().text(), "app");
        times.push(start.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    times.sort();
    times[requests * 95 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_servers_are_each_checked_in_their_time_and_nobody_feels_it() {
    let port = Port::pick();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number())).await.unwrap();
    let counts = Counts::default();
    tokio::spawn(serve(listener, counts.clone()));
    let app = Origin::named("app").await;
    let start = Instant::now();
    let lb = Lb::start(&config(port.number(), &app)).await;
    // the first checks are made at once, not spread over an interval, also behind those that hang
    until_within(Duration::from_secs(60), "every server was asked", async || {
        counts.lock().unwrap().len() == GOOD + HANGING
    })
    .await;
    let first = start.elapsed();
    until_within(Duration::from_secs(60), "every result is there", async || {
        let servers = lb.servers("many").await;
        let count = |state| servers.iter().filter(|server| server.state == state).count();
        (count("healthy"), count("unhealthy")) == (GOOD, HANGING)
    })
    .await;
    counts.lock().unwrap().clear();
    let (start, spent) = (Instant::now(), lb.process.processor_time());
    let mut slowest = Duration::ZERO;
    while start.elapsed() < 5 * INTERVAL {
        slowest = slowest.max(p95(&lb, 100).await);
    }
    let (took, spent) = (start.elapsed(), lb.process.processor_time() - spent);
    let counts = counts.lock().unwrap().clone();
    let most = (took.as_secs_f64() / (INTERVAL.as_secs_f64() * 0.9)).ceil() as usize + 1;
    let checks: usize = counts.values().sum();
    eprintln!("first checks within {first:?}; {checks} checks in {took:?} for {spent:?} of processor time; p95 {slowest:?} at worst");
    for number in 0..GOOD + HANGING {
        let count = counts.get(&address(number).into()).copied().unwrap_or_default();
        assert!(count <= most, "{}: {count} checks in {took:?}", address(number));
        // a machine that is too busy for all of them is so for all of them alike
        assert!(count >= 2, "{}: only {count} checks in {took:?}", address(number));
    }
    assert!(slowest < Duration::from_millis(500), "p95 of requests meanwhile: {slowest:?}");
    assert!(spent < took, "{spent:?} of processor time in {took:?}");
    let servers = lb.servers("many").await;
    let count = |state| servers.iter().filter(|server| server.state == state).count();
    assert_eq!((count("healthy"), count("unhealthy")), (GOOD, HANGING));
}

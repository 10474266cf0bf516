//! A server that resets in mid body.
//!
//! The head of the answer is with the client, so nothing can be repeated: its client sees a cut connection. What must not happen is a body
//! that looks whole, whichever way its end is told: by a length, by a last chunk, or by the end of the connection.

use std::time::Duration;

use lb_tests::client::Response;
use lb_tests::lb::Lb;
use lb_tests::load::{Counts, Load, Running};
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::report::{full, row};
use lb_tests::servers;
use lb_tests::wait::until;

/// The first half of every body, and the second.
const HALVES: [&str; 2] = ["the first half of a body, ", "and its second half"];
const TARGETS: [&str; 3] = ["/length", "/chunked", "/close"];

/// A whole answer to one of the targets.
fn whole(target: &str) -> Reply {
    let answer = Reply::new(200).header("Content-Type", "text/plain");
    match target {
        "/length" => answer.body(HALVES.concat()),
        "/chunked" => answer.chunked(&HALVES),
        _ => answer.until_close(HALVES.concat()),
    }
}

/// Its head and the first half of its body. When it is released, a reset.
fn half(target: &str) -> Reply {
    let (field, body) = match target {
        "/length" => (format!("Content-Length: {}", HALVES.concat().len()), HALVES[0].to_owned()),
        "/chunked" => (
            "Transfer-Encoding: chunked".into(),
            format!("{:x}\r\n{}\r\n", HALVES[0].len(), HALVES[0]),
        ),
        _ => ("Connection: close".into(), HALVES[0].to_owned()),
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{field}\r\n\r\n{body}");
    Reply::script(vec![Step::write(head), Step::Hold, Step::Reset])
}

fn is_right(_: &str, answer: &Response) -> bool {
    answer.body == HALVES.concat().as_bytes()
}

/// Fails the test when a client saw anything but a whole right answer or a cut one.
fn assert_only_cut(counts: &Counts) {
    assert_eq!(counts.failed(), counts.short, "{counts}");
    assert!(counts.short > 0, "nobody was cut, so this tests nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_resets_in_mid_body_cuts_only_its_own_and_shows_no_whole_looking_body() {
    let good = [
        Origin::start(|seen| whole(&seen.target)).await,
        Origin::start(|seen| whole(&seen.target)).await,
    ];
    let bad = Origin::start(|seen| whole(&seen.target)).await;
    let list = servers(&[good[0].addr(), good[1].addr(), bad.addr()]);
    // each in turn, however many are under way there already
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{list}]\nbalance = \"round_robin\"\n")).await;
    let load = |connections| {
        Load::new(lb.listen(), &TARGETS)
            .connections(connections)
            .pace(Duration::from_millis(60))
            .check(is_right)
    };
    // clients whose body ends with the connection, too
    let loads: [Running; 2] = [load(56).start(), load(8).http10().start()];
    let total = || loads.iter().map(Running::total).sum::<usize>();
    let rounds = if full() { 30 } else { 3 };
    let mut under_way = 0;
    for _ in 0..rounds {
        let before = total();
        until("all is well", async || total() > before + 200).await;
        bad.set(|seen| half(&seen.target));
        until("many wait for their second half", async || bad.active() > 40).await;
        bad.set(|seen| whole(&seen.target));
        // nobody is added to them, now that those who were about to be have been counted
        let before = total();
        until("the others go on", async || total() > before + 64).await;
        let waiting = bad.active();
        under_way += waiting;
        bad.release(waiting);
        until("they are gone", async || bad.active() < 10).await;
    }
    let before = total();
    until("all is well", async || total() > before + 200).await;
    let mut counts = Vec::new();
    for load in loads {
        counts.push(load.stop().await);
    }
    counts.iter().for_each(assert_only_cut);
    let cut: usize = counts.iter().map(|counts| counts.short).sum();
    assert!(cut <= under_way, "{cut} clients were cut, and {under_way} were under way there");
    lb.wait_until_idle().await;
    let notes =
        format!("cut apart: {cut} clients of {under_way} that were under way there, in {rounds} rounds, none with a whole-looking body");
    let total: usize = counts.iter().map(Counts::total).sum();
    row("a server that resets in mid body", total, 0, None, &notes);
}

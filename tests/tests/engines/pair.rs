//! Two `lb`s that differ in their engine alone.

use std::time::Duration;

use lb_tests::client::{Connection, Request};
use lb_tests::engine::Engine;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Refusing};
use lb_tests::wait::until;

use super::script;
use super::seen::{self, Exchange};

/// What a client sends on a connection of its own, and the methods of the answers that it waits for.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) methods: Vec<String>,
}

impl Case {
    /// One request.
    pub(super) fn of(name: &str, request: &Request) -> Case {
        Case {
            name: name.into(),
            bytes: request.bytes(),
            methods: vec![request.method().into()],
        }
    }

    /// Bytes to which that many answers are due.
    pub(super) fn raw(name: &str, bytes: impl AsRef<[u8]>, answers: usize) -> Case {
        Case {
            name: name.into(),
            bytes: bytes.as_ref().to_vec(),
            methods: vec!["GET".into(); answers],
        }
    }

    /// The same request again, on the same connection.
    pub(super) fn twice(mut self) -> Case {
        self.bytes = [self.bytes.as_slice(), &self.bytes].concat();
        self.methods = [self.methods.as_slice(), &self.methods].concat();
        self
    }
}

/// One side: an `lb` by one engine, and the servers behind it.
struct Side {
    lb: Lb,
    origin: Origin,
    /// Half of a pool of two, which fails; [`Side::origin`] is the other half.
    failing: Origin,
    _refusing: Refusing,
}

impl Side {
    async fn start(engine: Engine) -> Side {
        let (origin, failing) = (Origin::start(script::answer).await, Origin::start(script::failing).await);
        let refusing = Refusing::start();
        let config = script::config(origin.addr(), failing.addr(), refusing.addr());
        let lb = Lb::setup(&config).engine(engine).start().await;
        Side {
            lb,
            origin,
            failing,
            _refusing: refusing,
        }
    }

    async fn send(&self, case: &Case) -> Exchange {
        let before = (self.origin.count(), self.failing.count());
        let mut connection = self.lb.connect().await.patience(Duration::from_secs(10));
        connection.write(&case.bytes).await;
        let mut answers = Vec::new();
        for method in &case.methods {
            answers.push(connection.response(method).await);
        }
        let goes_on = match answers.last() {
            Some(Ok(last)) => last.keeps_alive,
            _ => false,
        };
        let stays_open = goes_on && self.goes_on(&mut connection).await;
        drop(connection);
        self.lb.wait_until_idle().await;
        until("the servers are done", async || self.origin.active() + self.failing.active() == 0).await;
        let received = [&self.origin.requests()[before.0..], &self.failing.requests()[before.1..]].concat();
        Exchange::new(answers, stays_open, received)
    }

    /// Whether a connection of which the last answer said that it goes on does so.
    async fn goes_on(&self, connection: &mut Connection) -> bool {
        let probe = Request::get("/respond");
        connection.send(&probe).await.is_ok_and(|answer| answer.status == 200)
    }
}

/// Both sides.
pub(super) struct Pair {
    relay: Side,
    pingora: Side,
    wrong: Vec<String>,
    sent: usize,
}

impl Pair {
    pub(super) async fn start() -> Pair {
        Pair {
            relay: Side::start(Engine::Relay).await,
            pingora: Side::start(Engine::Pingora).await,
            wrong: Vec::new(),
            sent: 0,
        }
    }

    /// Sends a case to both sides and notes what differs.
    pub(super) async fn send(&mut self, case: Case) {
        let (relay, pingora) = (self.relay.send(&case).await, self.pingora.send(&case).await);
        self.sent += 1;
        for (what, relay, pingora) in seen::differences(&relay, &pingora) {
            self.wrong
                .push(format!("{}: {what}\n    relay:   {relay}\n    pingora: {pingora}", case.name));
        }
    }

    /// Compares what both have logged and counted, and fails the test when anything differed.
    pub(super) async fn finish(mut self, cases: Vec<Case>) {
        for case in cases {
            self.send(case).await;
        }
        assert!(self.sent > 0, "nothing was compared");
        let (relay, pingora) = (seen::counted(&self.relay.lb).await, seen::counted(&self.pingora.lb).await);
        for (what, relay, pingora) in seen::differing(&relay, &pingora) {
            self.wrong.push(format!("{what}\n    relay:   {relay}\n    pingora: {pingora}"));
        }
        assert!(self.wrong.is_empty(), "{} differences\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

//! Two `lb`s that differ in their engine alone.

use std::time::Duration;

use lb_tests::client::{Connection, Failure, Request, Response};
use lb_tests::engine::Engine;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Refusing};
use lb_tests::wait::{DEADLINE, until};

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
        self.assert_true_to_its_word(case, &answers, &mut connection).await;
        drop(connection);
        self.lb.wait_until_idle().await;
        until("the servers are done", async || self.origin.active() + self.failing.active() == 0).await;
        let received = [&self.origin.requests()[before.0..], &self.failing.requests()[before.1..]].concat();
        Exchange::new(&answers, &received)
    }

    /// Whether the connection goes on is each engine's own choice in many cases; that it does what the last answer said is not.
    async fn assert_true_to_its_word(&self, case: &Case, answers: &[Result<Response, Failure>], connection: &mut Connection) {
        let Some(Ok(last)) = answers.last() else { return };
        if last.status == 101 {
            connection.write("ping").await;
            assert_eq!(connection.exactly(4).await.unwrap(), "ping", "{}", case.name);
        } else if last.keeps_alive {
            let probe = connection.send(&Request::get(script::PROBE)).await;
            assert!(
                probe.is_ok_and(|answer| answer.status == 200),
                "{}: the connection ended",
                case.name
            );
        } else {
            let ending = connection.ended_within(DEADLINE).await;
            assert!(ending.is_some(), "{}: the connection stayed open", case.name);
        }
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

    /// Sends these cases, compares what both have logged and counted, and fails the test when anything differed.
    pub(super) async fn finish(mut self, cases: Vec<Case>) {
        for case in cases {
            self.send(case).await;
        }
        let (relay, pingora) = (seen::counted(&self.relay.lb).await, seen::counted(&self.pingora.lb).await);
        for (what, relay, pingora) in seen::differing(&relay, &pingora) {
            self.wrong.push(format!("{what}\n    relay:   {relay}\n    pingora: {pingora}"));
        }
        self.assert_same();
    }

    /// Fails the test when anything differed so far.
    pub(super) fn assert_same(self) {
        assert!(self.sent > 0, "nothing was compared");
        assert!(self.wrong.is_empty(), "{} differences\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

//! A run: case by case, and in each case the peers in turns, round by round.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::api::{self, Api};
use crate::case::{Case, SERVERS, Work};
use crate::certificate::Certificate;
use crate::disturbance::{TOO_MUCH, Watch};
use crate::load::origin::LocalOrigin;
use crate::load::paced::Pace;
use crate::load::slowloris::Attack;
use crate::load::{Load, handshakes, idle, paced, wrk};
use crate::machine::pause;
use crate::measure::{Sample, cpu, median, memory_now, peak_memory};
use crate::origin::Origin;
use crate::peers::{self, Peers, Running};

/// Idle connections of [`Case::Idle`], where the system allows so many open files.
const IDLE: usize = 10_000;

/// How many samples of a run may be taken again because others were busy on the machine, and how often one of them.
const AGAIN: usize = 20;
const AGAIN_EACH: usize = 2;

/// Files that a process with that many connections opens for everything else.
const SPARE_FILES: usize = 1_000;

/// Requests a second of the honest client of [`Case::Slowloris`]: a load that leaves the proxy room.
const HONEST_RATE: f64 = 5_000.0;

/// What is run, and what came out of it so far.
pub struct Bench {
    /// The peers.
    pub peers: Peers,
    /// Whether the peers were named, so that each of them does whatever it can.
    pub named: bool,
    /// Rounds of each case.
    pub rounds: usize,
    /// Seconds of load for each peer and round.
    pub seconds: u64,
    /// Connections.
    pub connections: usize,
    /// The idle ones.
    pub idle: usize,
    /// Requests a second of [`Case::Latency`], once it is known.
    pub half_of_peak: Option<f64>,
    /// The samples of each case, for each of the peers in their order.
    pub results: Vec<(Case, Vec<Vec<Sample>>)>,
    origin: Origin,
    local_origin: LocalOrigin,
    /// What the servers of the API stand on, where they are compared.
    api: Option<Api>,
    /// How many attacks there were.
    attacks: u8,
    /// How many more samples may be taken again.
    again: usize,
    certificate: Certificate,
    /// Where the certificate is.
    _folder: TempDir,
}

impl Bench {
    /// Makes ready what all cases need.
    pub fn start(
        peers: Peers,
        api: Option<Api>,
        named: bool,
        rounds: usize,
        seconds: u64,
        connections: usize,
        open_files: u64,
    ) -> anyhow::Result<Bench> {
        if rounds == 0 || seconds == 0 || connections == 0 {
            bail!("expected at least one round, one second and one connection");
        }
        peers::sweep()?;
        let folder = peers::folder()?;
        let idle = IDLE.min(usize::try_from(open_files).unwrap_or(IDLE).saturating_sub(SPARE_FILES));
        Ok(Bench {
            peers,
            named,
            rounds,
            seconds,
            connections,
            idle,
            half_of_peak: None,
            results: Vec::new(),
            origin: Origin::start()?,
            local_origin: LocalOrigin::listen(SERVERS as u8)?,
            api,
            attacks: 0,
            again: AGAIN,
            certificate: Certificate::make(folder.path())?,
            _folder: folder,
        })
    }

    /// Runs cases that are to be compared with each other, on every peer that can do them. A peer that cannot has no samples.
    pub fn run(&mut self, cases: &[Case]) -> anyhow::Result<()> {
        let mut running = Vec::new();
        for case in cases {
            println!("{}: {}", case.name(), case.describe());
            if *case == Case::Latency {
                self.half_of_peak = Some(self.peak_of_nginx()? / 2.0);
            }
            self.results.push((*case, self.peers.iter().map(|_| Vec::new()).collect()));
            let place = self.results.len() - 1;
            for (peer, process) in self.start_all(*case)? {
                self.warm(*case, &process)?;
                running.push((place, peer, process));
            }
        }
        for round in 1..=self.rounds {
            for (place, peer, process) in &running {
                let (case, name) = (self.results[*place].0, self.peers[*peer].name());
                // What idles can be counted once for each process: memory that was freed for later is not given back.
                if matches!(case.work(), Work::Idle | Work::Fill) && round > 1 {
                    continue;
                }
                let label = match cases {
                    [_] => format!("round {round} {name:<10}"),
                    _ => format!("round {round} {name:<10} {:<12}", case.name()),
                };
                let sample = self
                    .undisturbed(case, process, &label)
                    .with_context(|| format!("{}, {name}, round {round}", case.name()))?;
                self.results[*place].1[*peer].push(sample);
            }
        }
        Ok(())
    }

    /// The peers that do a case, by their places.
    fn start_all(&self, case: Case) -> anyhow::Result<Vec<(usize, Running)>> {
        let servers = match case.work() {
            Work::Paced | Work::Slowloris => self.local_origin.servers()?,
            _ => self.origin.servers(case.servers()),
        };
        let mut running = Vec::new();
        for (place, peer) in self.peers.iter().enumerate() {
            let asked = self.named || !case.scale() || peer.name() == "lb";
            if peer.can(case) && asked {
                let process = peers::start(peer.as_ref(), case, &servers, &self.certificate)?;
                running.extend(process.map(|process| (place, process)));
            }
        }
        if case.api() {
            self.answer_alike(case, &running)?;
        }
        Ok(running)
    }

    /// Servers of the API are compared only if they do the same.
    fn answer_alike(&self, case: Case, running: &[(usize, Running)]) -> anyhow::Result<()> {
        let path = format!("{}{}", case.path(), case.keys().map_or("", |_| "7"));
        let mut first = None;
        for (place, process) in running {
            let name = self.peers[*place].name();
            let body = api::body(process.port, &path).with_context(|| format!("{name}: GET {path}"))?;
            let (expected, by) = first.get_or_insert_with(|| (body.clone(), name));
            if *expected != body {
                let [expected, body] = [&*expected, &body].map(|body| String::from_utf8_lossy(body));
                bail!("GET {path}: expected the same from all; {by} answers\n{expected}\nand {name}\n{body}");
            }
        }
        Ok(())
    }

    /// The cache is filled and the code is warm before anything counts.
    fn warm(&mut self, case: Case, process: &Running) -> anyhow::Result<()> {
        let plain = match case.work() {
            Work::Closed => case,
            Work::Idle => Case::Proxy,
            Work::Fill => Case::Hit,
            _ => return self.load(case, process, Duration::from_secs(1), None).map(drop),
        };
        // Each run begins with the first key, so one of them must come to the last.
        for seconds in [1, 3, 9, 27] {
            let load = wrk::run(
                plain,
                process.port,
                self.connections,
                Duration::from_secs(seconds),
                process.dir.path(),
            )?;
            if load.requests > plain.keys().unwrap_or(0) as u64 {
                return Ok(());
            }
        }
        bail!("the cache was not filled in time")
    }

    /// Measures, and does so again as long as others take part of a core: a bounded number of times, with the calmest one as the result.
    fn undisturbed(&mut self, case: Case, process: &Running, label: &str) -> anyhow::Result<Sample> {
        let mut best: Option<Sample> = None;
        let mut left = AGAIN_EACH;
        loop {
            let others = match &self.api {
                Some(api) if case.api() => api.processes.to_vec(),
                _ => vec![self.origin.pid()],
            };
            let watch = Watch::start(process.pid(), others)?;
            let mut sample = self.measure(case, process)?;
            sample.foreign = watch.foreign()?;
            println!("  {label} {sample}");
            let calm = sample.foreign <= TOO_MUCH;
            if best.as_ref().is_none_or(|best| sample.foreign < best.foreign) {
                best = Some(sample);
            }
            // What others do changes neither memory nor, much, a steady tail; and attacks take long.
            let fine = calm || matches!(case.work(), Work::Idle | Work::Fill | Work::Slowloris);
            match best {
                Some(best) if fine || left == 0 || self.again == 0 => return Ok(best),
                _ => (left, self.again) = (left - 1, self.again - 1),
            }
        }
    }

    fn measure(&mut self, case: Case, process: &Running) -> anyhow::Result<Sample> {
        let pid = process.pid();
        let time = Duration::from_secs(self.seconds);
        match case.work() {
            Work::Idle => return self.measure_idle(process),
            Work::Fill => return self.measure_stored(case, process),
            _ => {}
        }
        let (mut calm, mut attack) = (None, None);
        if case.work() == Work::Slowloris {
            // Before each measurement the proxy may come to terms with the sockets that came or went.
            let settle = Duration::from_secs(1);
            self.load(case, process, settle, None)?;
            calm = self.load(case, process, time, None)?.steady_p99_us;
            self.attacks = self.attacks.wrapping_add(1);
            let mut begun = Attack::begin(process.port, self.attacks)?;
            self.load(case, process, settle, Some(&mut begun))?;
            attack = Some(begun);
        }
        let (before, origin) = (cpu(pid)?, cpu(self.origin.pid())?);
        let load = self.load(case, process, time, attack.as_mut())?;
        let used = cpu(pid)?.since(before);
        // Hits that are none would be measured as such without a word.
        if case.cached() && cpu(self.origin.pid())?.since(origin).total > used.total / 20 {
            bail!("the origin was asked, so these were not cache hits alone");
        }
        if let Some(closed) = attack.map(|attack| attack.closed).filter(|closed| *closed > 0) {
            println!("    {closed} of the slow sockets were closed, and opened again");
        }
        Ok(Sample {
            calm_p99_us: calm,
            ..Sample::new(load, used, peak_memory(pid))
        })
    }

    fn load(&mut self, case: Case, process: &Running, time: Duration, attack: Option<&mut Attack>) -> anyhow::Result<Load> {
        let connections = self.connections;
        let pace = |rate| Pace { rate, connections, time };
        match case.work() {
            Work::Closed => wrk::run(case, process.port, self.connections, time, process.dir.path()),
            Work::Handshakes => handshakes::run(process.port, &self.certificate, self.connections, time),
            Work::Paced => {
                let rate = self.half_of_peak.context("no rate is known")?;
                paced::run(process.port, pace(rate), &mut self.local_origin, None)
            }
            Work::Slowloris => paced::run(process.port, pace(HONEST_RATE), &mut self.local_origin, attack),
            Work::Idle => bail!("idle connections load nothing"),
            Work::Fill => wrk::run(case, process.port, self.connections, time, process.dir.path()),
        }
    }

    fn measure_idle(&self, process: &Running) -> anyhow::Result<Sample> {
        let pid = process.pid();
        let before = memory_now(pid);
        let start = cpu(pid)?;
        let mut connections: Vec<TcpStream> = idle::open(process.port, self.idle)?;
        // Whatever is done soon after a request is over.
        pause(Duration::from_secs(1));
        let grown = memory_now(pid).saturating_sub(before);
        let used = cpu(pid)?.since(start);
        let alive = idle::alive(&mut connections);
        if alive < self.idle {
            bail!("only {alive} of {} idle connections were still open", self.idle);
        }
        let load = Load {
            requests: self.idle as u64,
            ..Load::default()
        };
        Ok(Sample {
            idle_bytes: Some(grown as f64 / self.idle as f64),
            ..Sample::new(load, used, peak_memory(pid))
        })
    }

    fn measure_stored(&mut self, case: Case, process: &Running) -> anyhow::Result<Sample> {
        let pid = process.pid();
        let keys = case.keys().unwrap_or(1);
        let before = memory_now(pid);
        let start = cpu(pid)?;
        for seconds in [3, 9, 27, 81] {
            let load = self.load(case, process, Duration::from_secs(seconds), None)?;
            // Each run begins with the first key.
            if load.requests > keys as u64 {
                let grown = memory_now(pid).saturating_sub(before);
                return Ok(Sample {
                    stored_ratio: Some(grown as f64 / (keys * 1024) as f64),
                    ..Sample::new(load, cpu(pid)?.since(start), peak_memory(pid))
                });
            }
        }
        bail!("not all keys were asked for in time")
    }

    /// Requests a second of nginx in [`Case::Proxy`]: from this run, or from a short look.
    fn peak_of_nginx(&self) -> anyhow::Result<f64> {
        let nginx = self.peers.iter().position(|peer| peer.name() == "nginx");
        let done = self.results.iter().find(|(case, _)| *case == Case::Proxy);
        if let (Some(index), Some((_, samples))) = (nginx, done) {
            return Ok(median(samples[index].iter().map(|sample| sample.load.rate).collect()));
        }
        let servers = self.origin.servers(Case::Proxy.servers());
        let Some(process) = peers::start(&peers::Nginx, Case::Proxy, &servers, &self.certificate)? else {
            bail!("nginx does not run");
        };
        let look = || {
            wrk::run(
                Case::Proxy,
                process.port,
                self.connections,
                Duration::from_secs(1),
                process.dir.path(),
            )
        };
        look()?;
        Ok(look()?.rate)
    }
}

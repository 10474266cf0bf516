//! Whether the machine was ours. A figure that was taken while somebody else compiled on the same cores says little about latencies, and CPU time a
//! request suffers as well when caches are shared. So each sample carries the part of a core that went to processes that are not part of it.

use std::fs;
use std::time::{Duration, Instant};

use crate::machine::{LOAD_CORE, PROXY_CORE};
use crate::measure::{cpu, number};

/// More than this part of a core, and the sample is taken again.
pub const TOO_MUCH: f64 = 0.05;

/// Looks at both cores from its start on.
pub struct Watch {
    proxy: u32,
    others: Vec<u32>,
    start: Instant,
    earlier: [Use; 2],
}

/// CPU time of a core: all of it, and what of that was ours.
#[derive(Clone, Copy)]
struct Use {
    all: Duration,
    ours: Duration,
}

impl Watch {
    /// Begins, with the processes of the proxy and those of what is behind it; this program and the loads that it waits for are counted too.
    pub fn start(proxy: u32, others: Vec<u32>) -> anyhow::Result<Watch> {
        Ok(Watch {
            proxy,
            start: Instant::now(),
            earlier: now(proxy, &others)?,
            others,
        })
    }

    /// The part of the worse core that went to others.
    pub fn foreign(&self) -> anyhow::Result<f64> {
        let elapsed = self.start.elapsed().as_secs_f64();
        let later = now(self.proxy, &self.others)?;
        let shares = self.earlier.iter().zip(later).map(|(earlier, later)| {
            let (all, ours) = (later.all.saturating_sub(earlier.all), later.ours.saturating_sub(earlier.ours));
            all.saturating_sub(ours).as_secs_f64() / elapsed
        });
        Ok(shares.fold(0.0, f64::max))
    }
}

/// The proxy's core, then that of the load.
fn now(proxy: u32, others: &[u32]) -> anyhow::Result<[Use; 2]> {
    // Loads that are over: those that this program has waited for, in hundredths of a second.
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let waited = Duration::from_millis(10 * (number(fields, 13) + number(fields, 14)));
    let cores = fs::read_to_string("/proc/stat")?;
    let all = |core: usize| {
        let label = format!("cpu{core} ");
        let line = cores.lines().find_map(|line| line.strip_prefix(&label)).unwrap_or_default();
        // user, nice, system, [idle, iowait,] irq, softirq, steal
        Duration::from_millis(10 * [0, 1, 2, 5, 6, 7].map(|index| number(line, index)).iter().sum::<u64>())
    };
    // Of this program alone: its children are among the others.
    let this = fs::read_dir("/proc/self/task")?.flatten().map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        Duration::from_nanos(number(&text, 0))
    });
    let behind = others.iter().map(|pid| Ok(cpu(*pid)?.total)).sum::<anyhow::Result<Duration>>()?;
    Ok([
        Use {
            all: all(PROXY_CORE),
            ours: cpu(proxy)?.total,
        },
        Use {
            all: all(LOAD_CORE),
            ours: this.sum::<Duration>() + waited + behind,
        },
    ])
}

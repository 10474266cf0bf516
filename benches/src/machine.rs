//! What the machine allows: which core does what, and how many files a process may have open.

use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core of the proxy under test.
pub const PROXY_CORE: usize = 1;
/// The core of the load, the origins and this program.
pub const LOAD_CORE: usize = 0;

/// Keeps this program off the proxy's core, and takes as many open files as it may have. What it starts inherits both; proxies are then
/// moved to their own core. Answers how many files may be open.
pub fn prepare() -> anyhow::Result<u64> {
    if std::thread::available_parallelism()?.get() < 2 {
        bail!("expected at least two cores: one for the proxy, one for the load");
    }
    let mut cores = CpuSet::new();
    cores.set(LOAD_CORE);
    sched_setaffinity(None, &cores).context("cannot stay on one core")?;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Waits. There is nothing else to do in this program, or on this thread of it, meanwhile.
#[allow(clippy::disallowed_methods)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

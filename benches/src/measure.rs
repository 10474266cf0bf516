//! What a proxy used: CPU time and memory, of its process and all that it started, from /proc.

use std::fmt;
use std::fs;
use std::time::Duration;

use crate::load::Load;

/// One peer in one round.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What the load saw.
    pub load: Load,
    /// CPU time of the proxy's processes, in microseconds a request.
    pub cpu_us: f64,
    /// The most memory that they ever had, in bytes.
    pub memory: u64,
}

impl Sample {
    /// From what was read around the load.
    pub fn new(load: Load, cpu: Duration, memory: u64) -> Sample {
        let cpu_us = cpu.as_secs_f64() * 1e6 / (load.requests.max(1)) as f64;
        Sample { load, cpu_us, memory }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load {
            rate,
            p50_us,
            p99_us,
            errors,
            ..
        } = self.load;
        write!(
            f,
            "{rate:>9.0}/s  p50 {p50_us:>7.0} us  p99 {p99_us:>8.0} us  {:>7.2} us CPU a request  {errors} errors",
            self.cpu_us
        )
    }
}

/// The process and its descendants.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while next < all.len() {
        for task in fs::read_dir(format!("/proc/{}/task", all[next])).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    all
}

/// Time on a CPU since the start, in the scheduler's nanoseconds.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for member in family(pid) {
        for task in fs::read_dir(format!("/proc/{member}/task"))?.flatten() {
            let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanos += stat
                .split_whitespace()
                .next()
                .and_then(|first| first.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// The sum of the members' largest resident sets. Memory that they share counts more than once.
pub fn peak_memory(pid: u32) -> anyhow::Result<u64> {
    let mut total = 0;
    for member in family(pid) {
        let status = fs::read_to_string(format!("/proc/{member}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        total += line
            .and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or(0)
            * 1024;
    }
    Ok(total)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn this_process_has_used_some_cpu_and_memory() {
        assert!(cpu(std::process::id()).unwrap() > Duration::ZERO);
        assert!(peak_memory(std::process::id()).unwrap() > 100_000);
    }
}

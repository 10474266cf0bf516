//! What a proxy used: CPU time and memory, of its process and all that it started, from /proc.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::Context;

use crate::disturbance::TOO_MUCH;
use crate::load::Load;

/// One peer in one round.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What the load saw.
    pub load: Load,
    /// CPU time of the proxy's processes, user and kernel, in microseconds a request.
    pub cpu_us: f64,
    /// The part of it in user space, from 0 to 1.
    pub user: f64,
    /// The most memory that they ever had, in bytes.
    pub memory: u64,
    /// Bytes of memory that each idle connection added.
    pub idle_bytes: Option<f64>,
    /// Bytes of memory that each stored answer added, for each byte of its body.
    pub stored_ratio: Option<f64>,
    /// The steady 99th percentile in microseconds while nobody attacked.
    pub calm_p99_us: Option<f64>,
    /// The part of a core that went to processes that have nothing to do with it.
    pub foreign: f64,
}

impl Sample {
    /// From what was read around the load.
    pub fn new(load: Load, cpu: Cpu, memory: u64) -> Sample {
        Sample {
            load,
            cpu_us: cpu.total.as_secs_f64() * 1e6 / (load.requests.max(1)) as f64,
            user: cpu.user_share(),
            memory,
            idle_bytes: None,
            stored_ratio: None,
            calm_p99_us: None,
            foreign: 0.0,
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(bytes) = self.idle_bytes {
            return write!(f, "{bytes:>7.0} bytes each idle connection, {} MiB in all", self.memory >> 20);
        }
        if let Some(ratio) = self.stored_ratio {
            return write!(f, "{ratio:>5.2} bytes for each that is stored, {} MiB in all", self.memory >> 20);
        }
        let Load {
            rate,
            p50_us,
            p99_us,
            errors,
            ..
        } = self.load;
        write!(
            f,
            "{rate:>9.0}/s  p50 {p50_us:>7.0} us  p99 {p99_us:>8.0} us  {:>7.2} us CPU a request ({:.2} user)  {errors} errors",
            self.cpu_us,
            self.cpu_us * self.user
        )?;
        if let Some(steady) = self.load.steady_p99_us {
            write!(f, "  steady p99 {steady:.0} us")?;
        }
        if let Some(calm) = self.calm_p99_us {
            write!(f, " (without the attack {calm:.0})")?;
        }
        if self.foreign > TOO_MUCH {
            write!(f, "  others took {:.0} % of a core", self.foreign * 100.0)?;
        }
        Ok(())
    }
}

/// CPU time that was used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// All of it, exactly.
    pub total: Duration,
    /// Clock ticks in user space and in the kernel: coarse, so good for their proportion only.
    ticks: [u64; 2],
}

impl Cpu {
    /// Since an earlier moment.
    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu {
            total: self.total.saturating_sub(earlier.total),
            ticks: [0, 1].map(|index| self.ticks[index].saturating_sub(earlier.ticks[index])),
        }
    }

    fn user_share(self) -> f64 {
        self.ticks[0] as f64 / (self.ticks[0] + self.ticks[1]).max(1) as f64
    }
}

/// The process and its descendants.
pub fn family(pid: u32) -> Vec<u32> {
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

/// Time on a CPU since the start, of the process and its descendants.
pub fn cpu(pid: u32) -> anyhow::Result<Cpu> {
    let mut used = Cpu::default();
    for member in family(pid) {
        let tasks = match fs::read_dir(format!("/proc/{member}/task")) {
            Ok(tasks) => tasks,
            // One that the process had started, and that has ended meanwhile.
            Err(_) if member != pid => continue,
            Err(e) => return Err(e).with_context(|| format!("process {pid} is gone")),
        };
        for task in tasks.flatten() {
            let schedstat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            used.total += Duration::from_nanos(number(&schedstat, 0));
        }
        let stat = fs::read_to_string(format!("/proc/{member}/stat")).unwrap_or_default();
        // After the name in brackets, which may hold anything: the state is field 3, utime 14, stime 15.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        used.ticks[0] += number(fields, 11);
        used.ticks[1] += number(fields, 12);
    }
    Ok(used)
}

/// The number in that place between white space; 0 where there is none.
pub fn number(text: &str, index: usize) -> u64 {
    text.split_whitespace().nth(index).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// The sum of the members' largest resident sets. Memory that they share counts more than once.
pub fn peak_memory(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// The sum of the members' resident sets now.
pub fn memory_now(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, label: &str) -> u64 {
    let of = |member: u32| {
        let status = fs::read_to_string(format!("/proc/{member}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_default();
        number(line, 0) * 1024
    };
    family(pid).into_iter().map(of).sum()
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
        let pid = std::process::id();
        assert!(cpu(pid).unwrap().total > Duration::ZERO);
        assert!(memory_now(pid) > 100_000);
        assert!(peak_memory(pid) >= memory_now(pid));
    }
}

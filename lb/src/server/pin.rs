//! Workers on cores of their own.
//!
//! With a worker for each core the scheduler has nothing to decide; left alone it moves a thread now and then nevertheless, away from what
//! it has in its caches. Only the cores that the process may use count (`taskset`, cpusets); where a quota of a container leaves it less
//! time than they have, there are fewer workers than cores, and nothing is pinned.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The core of each of so many workers; none where there are not just as many cores.
pub fn plan(workers: usize) -> Vec<usize> {
    let cores: Vec<usize> = match sched_getaffinity(None) {
        Ok(allowed) => (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect(),
        Err(error) => {
            tracing::debug!(%error, "cannot tell the cores: workers are not pinned");
            Vec::new()
        }
    };
    if cores.len() == workers { cores } else { Vec::new() }
}

/// Keeps the calling thread on a core.
pub fn pin(core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    if let Err(error) = sched_setaffinity(None, &only) {
        tracing::debug!(%error, core, "cannot pin a worker to its core");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_gets_a_core_of_its_own_where_there_are_as_many() {
        let cores = sched_getaffinity(None).unwrap().count() as usize;
        let mut planned = plan(cores);
        assert_eq!(planned.len(), cores);
        planned.dedup();
        assert_eq!(planned.len(), cores);
        assert!(plan(cores + 1).is_empty());
    }

    #[test]
    fn a_pinned_thread_may_run_nowhere_else() {
        let core = plan(sched_getaffinity(None).unwrap().count() as usize)[0];
        let allowed = std::thread::spawn(move || {
            pin(core);
            sched_getaffinity(None).unwrap()
        });
        let allowed = allowed.join().unwrap();
        assert!(allowed.is_set(core));
        assert_eq!(allowed.count(), 1);
    }
}

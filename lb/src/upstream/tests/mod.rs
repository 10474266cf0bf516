//! What upstreams promise, from the outside.

mod announced;
mod checks;
mod circuit;
mod ejection;
mod leases;
mod limit;
mod orders;
mod panic;
mod queue;
mod reload;
mod slow_start;
mod standing;
mod sticky;

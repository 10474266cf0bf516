//! What upstreams promise, from the outside.

mod checks;
mod ejection;
mod leases;
mod queue;
mod reload;
mod standing;
mod sticky;

//! A load balancer and caching reverse proxy.

pub mod exchange;

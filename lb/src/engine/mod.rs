//! What moves bytes, and decides nothing: every decision is the [`exchange`](crate::exchange)'s.

pub mod h1;
pub mod pingora;
pub mod relay;

//! The configuration file of `lb`: what it may say, what is wrong with it, and the model that the proxy is built from.

pub mod model;

pub use model::*;

//! TLS for both ends: an authority that issues certificates, and what clients and servers are set up with.

mod authority;
mod settings;

pub use authority::{Authority, Pair};
use rustls::crypto::CryptoProvider;
pub use settings::{ClientTls, ServerTls};
use std::sync::Arc;

/// The one provider of cryptography that is linked.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

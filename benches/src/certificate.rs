//! A certificate for the TLS cases, made anew in each run: ECDSA over P-256, which is what most servers have today.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

/// A certificate that signed itself, in the files that proxies want.
pub struct Certificate {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Both in one file.
    pub both: PathBuf,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

impl Certificate {
    /// Makes one for `localhost`, with its files in `folder`.
    pub fn make(folder: &Path) -> anyhow::Result<Certificate> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot make a key")?;
        let certificate = CertificateParams::new([String::from("localhost")])?.self_signed(&key)?;
        let made = Certificate {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            both: folder.join("both.pem"),
            der: certificate.der().to_vec(),
        };
        std::fs::write(&made.certificate, certificate.pem())?;
        std::fs::write(&made.key, key.serialize_pem())?;
        std::fs::write(&made.both, certificate.pem() + &key.serialize_pem())?;
        Ok(made)
    }
}

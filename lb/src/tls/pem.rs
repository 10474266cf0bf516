//! PEM (RFC 7468): certificates and keys as text between `-----BEGIN …-----` and `-----END …-----`.
//!
//! A file is read whole before it is looked at, and is taken whole or not at all: of one that is cut off in the middle of a chain, the
//! certificates before the cut would do for some clients and not for others.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use rustls_pki_types::pem::{Error, PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// No file of certificates is longer.
const LONGEST: u64 = 16 << 20;

/// What a file says.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let cannot = |error: std::io::Error| {
        let why = match error.kind() {
            ErrorKind::NotFound => "there is no such file".to_owned(),
            ErrorKind::PermissionDenied => "the permission to read it is missing".to_owned(),
            _ => error.to_string(),
        };
        format!("cannot read {}: {why}", path.display())
    };
    // A pipe would keep everybody waiting, and could not be read twice.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("cannot read {}: this is no file", path.display()));
    }
    let file = File::open(path).map_err(cannot)?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("{} is longer than 16 MiB", path.display()));
    }
    Ok(bytes)
}

/// All certificates in a file; at least one, and each is one.
pub(super) fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        if let (SectionKind::Certificate, der) = section.map_err(|error| damaged(path, &error))? {
            found.push(CertificateDer::from(der));
            if parsed(&found[found.len() - 1]).is_none() {
                return Err(format!("certificate {} in {} is no X.509 certificate", found.len(), path.display()));
            }
        }
    }
    if found.is_empty() {
        return Err(format!("there is no certificate in {}: {}", path.display(), instead(bytes)));
    }
    Ok(found)
}

/// The first private key in a file.
pub(super) fn private_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) => Ok(key),
        Err(Error::NoItemsFound) if contains(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") => Err(format!(
            "the private key in {} is encrypted, and nobody is there to ask for its passphrase",
            path.display()
        )),
        Err(Error::NoItemsFound) => Err(format!("there is no private key in {}: {}", path.display(), instead(bytes))),
        Err(error) => Err(damaged(path, &error)),
    }
}

/// A certificate, read as far as `lb` wants to know it.
pub(super) fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
    rest.is_empty().then_some(parsed)
}

fn damaged(path: &Path, error: &Error) -> String {
    let why = match error {
        Error::MissingSectionEnd { .. } => "it ends before its -----END …----- line",
        Error::IllegalSectionStart { .. } => "a -----BEGIN …----- line is malformed",
        Error::Base64Decode(_) => "what stands between its lines is no base64",
        _ => "it is no PEM",
    };
    format!("{} is damaged: {why}", path.display())
}

/// What a file holds that does not hold what was looked for.
fn instead(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "it is empty",
        // The outermost sequence of a certificate or key (X.690 §8.9), with a length of two bytes.
        [0x30, 0x82, ..] => "it is DER, and PEM is expected (openssl x509 -inform der, or openssl pkey -inform der, converts it)",
        _ if contains(bytes, b"-----BEGIN CERTIFICATE-----") => "there are only certificates",
        _ if contains(bytes, b"PRIVATE KEY-----") => "there is a private key",
        _ => "PEM is expected, which has a -----BEGIN …----- line",
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

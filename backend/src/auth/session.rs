//! Refresh tokens: which session, and the secret that is right for its next refresh.
//!
//! `SESSION.SECRET`, 128 and 256 random bits in base64url. The session's name finds its record, which holds the SHA-256 of the secret: who
//! reads the records can make no token of them. A secret so long needs no slow hash.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use super::Refusal;
use crate::store::StoreError;

/// How long a session lives without a refresh.
pub const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// A refresh token.
#[derive(PartialEq, Eq)]
pub struct RefreshToken {
    session: String,
    secret: [u8; 32],
}

impl RefreshToken {
    /// The first one of a new session.
    pub fn begin() -> Result<Self, Refusal> {
        Ok(Self {
            session: URL_SAFE_NO_PAD.encode(random::<16>()?),
            secret: random()?,
        })
    }

    /// Its successor in the same session.
    pub fn next(&self) -> Result<Self, Refusal> {
        Ok(Self {
            session: self.session.clone(),
            secret: random()?,
        })
    }

    /// Reads one, in the one spelling that it has.
    pub fn parse(text: &str) -> Option<Self> {
        let (session, secret) = text.split_once('.')?;
        let _: [u8; 16] = bytes(session)?;
        Some(Self {
            session: session.to_owned(),
            secret: bytes(secret)?,
        })
    }

    /// The session's name.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// What is kept of its secret.
    pub fn hash(&self) -> Vec<u8> {
        digest(&SHA256, &self.secret).as_ref().to_vec()
    }
}

impl fmt::Display for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.session, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Longer texts are not even decoded.
    let decoded = URL_SAFE_NO_PAD.decode(text.get(..).filter(|text| text.len() <= 2 * N)?).ok()?;
    decoded.try_into().ok()
}

fn random<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Refusal::Store(StoreError::Unavailable("the system gives no randomness".into())))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = RefreshToken::begin().expect("randomness");
        let read = RefreshToken::parse(&token.to_string()).expect("its own spelling");
        assert!(read == token && read.hash() == token.hash());
        let next = token.next().expect("randomness");
        assert!(next.session() == token.session() && next.hash() != token.hash());
        assert_ne!(RefreshToken::begin().expect("randomness").session(), token.session());
    }

    proptest! {
        #[test]
        fn what_is_read_has_one_spelling(text in "[A-Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}|.{0,80}") {
            if let Some(token) = RefreshToken::parse(&text) {
                prop_assert_eq!(token.to_string(), text);
            }
        }
    }
}

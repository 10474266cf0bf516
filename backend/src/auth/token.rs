//! Access tokens: JWTs (RFC 7519) signed with HMAC-SHA256 and the secret that all servers share.
//!
//! They are for `lb` as well, whose routes may ask for a token of `issuer` and `audience` `users`. The signature comes from ring, which the
//! rest of the house uses too, rather than from a second library of cryptography.

use std::time::Duration;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, get_current_timestamp};
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::Caller;
use crate::users::Role;

/// How long an access token is valid.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Who issues them, and for whom.
const USERS: &str = "users";

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// The user's id.
    sub: String,
    role: Role,
    iat: u64,
    exp: u64,
}

/// Issues and reads access tokens.
pub struct Tokens {
    sign: EncodingKey,
    verify: DecodingKey,
    validation: Validation,
}

impl Tokens {
    /// With the secret that all servers share.
    pub fn new(secret: &[u8]) -> Self {
        // The library asks for it once a process; a second time it is the same one.
        let _ = RING.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[USERS]);
        validation.set_audience(&[USERS]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = 0;
        Self {
            sign: EncodingKey::from_secret(secret),
            verify: DecodingKey::from_secret(secret),
            validation,
        }
    }

    /// A new token for a user.
    pub fn issue(&self, caller: Caller) -> String {
        let now = get_current_timestamp();
        let claims = Claims {
            iss: USERS.into(),
            aud: USERS.into(),
            sub: caller.id.to_string(),
            role: caller.role,
            iat: now,
            exp: now + LIFETIME.as_secs(),
        };
        // Text and numbers become JSON, and an HMAC can be made of any bytes: it cannot fail. An empty token would be refused everywhere.
        encode(&Header::new(Algorithm::HS256), &claims, &self.sign).unwrap_or_default()
    }

    /// Who holds this token, if it is valid.
    pub fn read(&self, token: &str) -> Option<Caller> {
        let claims = decode::<Claims>(token, &self.verify, &self.validation).ok()?.claims;
        // From the second of its end on, not only after it.
        let alive = get_current_timestamp() < claims.exp;
        Some(Caller {
            id: claims.sub.parse().ok().filter(|_| alive)?,
            role: claims.role,
        })
    }
}

/// HMAC-SHA256 by ring, and nothing else.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?)))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

struct Hs256(hmac::Key);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        hmac::verify(&self.0, message, signature).map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const ADA: Caller = Caller {
        id: i64::MAX,
        role: Role::Admin,
    };

    /// Made by hand, as RFC 7519 describes it.
    fn forge(header: &Value, claims: &Value, secret: &[u8]) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn claims() -> Value {
        let now = get_current_timestamp();
        json!({"iss": "users", "aud": "users", "sub": "7", "role": "user", "iat": now, "exp": now + 60})
    }

    #[test]
    fn a_token_names_its_holder_at_every_server_with_the_secret() {
        let token = Tokens::new(SECRET).issue(ADA);
        assert_eq!(Tokens::new(SECRET).read(&token), Some(ADA));
        assert_eq!(Tokens::new(b"another secret of some 32 bytes..").read(&token), None);
    }

    #[test]
    fn only_what_the_standard_and_we_ask_for_is_taken() {
        let hs256 = json!({"alg": "HS256", "typ": "JWT"});
        let tokens = Tokens::new(SECRET);
        let read = |header: &Value, claims: &Value| tokens.read(&forge(header, claims, SECRET)).is_some();
        assert!(read(&hs256, &claims()));
        for algorithm in ["none", "HS512", "RS256", "ES256", "hs256", ""] {
            assert!(!read(&json!({"alg": algorithm}), &claims()), "{algorithm}");
        }
        let now = get_current_timestamp();
        let wrong = [
            ("exp", json!(now - 1)),
            ("exp", json!(now)),
            ("exp", json!("soon")),
            ("exp", Value::Null),
            ("iss", json!("others")),
            ("aud", json!("others")),
            ("sub", json!("x")),
            ("sub", json!(7)),
            ("role", json!("root")),
        ];
        for (name, value) in wrong {
            let mut changed = claims();
            changed[name] = value.clone();
            assert!(!read(&hs256, &changed), "{name} {value}");
        }
        for name in ["exp", "iss", "aud", "sub", "role"] {
            let mut changed = claims();
            changed.as_object_mut().expect("an object").remove(name);
            assert!(!read(&hs256, &changed), "without {name}");
        }
    }

    proptest! {
        #[test]
        fn a_token_with_one_character_changed_is_none(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.-]") {
            let tokens = Tokens::new(SECRET);
            let token = tokens.issue(ADA);
            let at = at.index(token.len());
            let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
            // The last character of a part has bits that mean nothing; those that differ there only are refused as well.
            prop_assert!(changed == token || tokens.read(&changed).is_none());
        }

        #[test]
        fn whatever_is_sent_is_read_without_a_panic(text in ".{0,200}") {
            prop_assert!(Tokens::new(SECRET).read(&text).is_none());
        }
    }
}

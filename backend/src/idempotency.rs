//! Requests that may come twice and must act once: the `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header).
//!
//! A client that got no answer cannot know whether its user was added. It sends the same request again, with the same key. Key and user are
//! written in one transaction, so that of two requests at once, at whichever servers, one adds the user and the other finds out which.
//!
//! What is kept of a key is its SHA-256 together with who used it, and of the request a fingerprint, which tells another request under
//! the same key. A body with a password gets a fingerprint that is as slow to guess at as the password's own hash.

use ring::digest::{Context, SHA256};

use crate::auth::password::{Busy, Hasher};
use crate::store::Once;
use crate::users::NewUser;

/// A key, as one caller uses it.
pub struct Key([u8; 32]);

impl Key {
    /// The longest that is taken.
    const LONGEST: usize = 255;

    /// Reads the header: visible ASCII, be it between quotes, as the draft wants it, or bare, as many send it.
    pub fn parse(text: &[u8], caller: Option<i64>) -> Option<Self> {
        let text = text.trim_ascii();
        let bare = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
        let fits = (1..=Self::LONGEST).contains(&bare.len());
        let plain = bare.iter().all(|b| b.is_ascii_graphic() && *b != b'"');
        // Whoever is not known is number 0, which nobody has.
        (fits && plain).then(|| Self(digest(&[&caller.unwrap_or(0).to_be_bytes(), bare])))
    }

    /// The key together with what is asked under it.
    pub async fn once(self, new: &NewUser, hasher: Option<&Hasher>) -> Result<Once, Busy> {
        let (name, email) = (new.name.as_str().as_bytes(), new.email.as_str().as_bytes());
        let fingerprint = match (&new.password, hasher) {
            (Some(password), Some(hasher)) => {
                let mut salt = [0; 16];
                salt.copy_from_slice(&self.0[..16]);
                let text = [&digest(&[name, email])[..], password.as_str().as_bytes()].concat();
                hasher.fingerprint(text, salt).await?
            }
            _ => digest(&[name, email]),
        };
        Ok(Once { key: self.0, fingerprint })
    }
}

/// Of several parts, which cannot be taken for other ones.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::users::{Email, Name, Password};

    fn key(text: &str, caller: Option<i64>) -> Option<[u8; 32]> {
        Key::parse(text.as_bytes(), caller).map(|key| key.0)
    }

    #[test]
    fn a_key_is_one_with_and_without_quotes_and_each_callers_own() {
        assert_eq!(key("\"abc\"", Some(1)), key(" abc ", Some(1)));
        assert_ne!(key("abc", Some(1)), key("abc", Some(2)));
        assert_ne!(key("abc", None), key("abd", None));
        for wrong in ["", "\"\"", "a b", "\"a", "a\"b\"", "é", "a\u{0}", &"x".repeat(256)] {
            assert!(key(wrong, None).is_none(), "{wrong:?} was taken");
        }
        assert!(key(&"x".repeat(255), None).is_some());
    }

    fn user(name: &str, email: &str, password: Option<&str>) -> NewUser {
        NewUser {
            name: Name::new(name).expect("a name"),
            email: Email::new(email).expect("an address"),
            password: password.map(|text| Password::new(text).expect("long enough")),
        }
    }

    #[tokio::test]
    async fn another_request_has_another_fingerprint() {
        let hasher = Hasher::new();
        let of = async |new: NewUser| {
            let key = Key::parse(b"k", None).expect("a key");
            key.once(&new, Some(&hasher)).await.expect("room").fingerprint
        };
        let all = [
            of(user("a", "b@c", None)).await,
            of(user("ab", "b@c", None)).await,
            of(user("a", "bb@c", None)).await,
            of(user("a", "b@c", Some("password"))).await,
            of(user("a", "b@c", Some("passwore"))).await,
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[n + 1..].contains(one), "number {n} comes twice");
        }
        assert_eq!(of(user("a", "b@c", Some("password"))).await, all[3]);
    }

    proptest! {
        #[test]
        fn parts_are_never_mixed_up(a in ".{0,9}", b in ".{0,9}", c in ".{0,9}", d in ".{0,9}") {
            let same = digest(&[a.as_bytes(), b.as_bytes()]) == digest(&[c.as_bytes(), d.as_bytes()]);
            prop_assert_eq!(same, (a, b) == (c, d));
        }
    }
}

//! What a user is, and what a request may say about one.
//!
//! [`Name`] and [`Email`] can only be made by their checks, so a value of one of these types is right wherever it turns up. A
//! request's body is first read as [`Fields`], which takes anything that is a JSON object and remembers all that is wrong with
//! it; only then it becomes a [`NewUser`], a [`Change`] or [`Credentials`], or the list of all its mistakes.

mod fields;

pub use fields::Fields;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One user, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// 64 bits, never given twice.
    #[schema(minimum = 1)]
    pub id: i64,
    /// What to call the user.
    pub name: String,
    /// As the user wrote it; unique without regard to case.
    pub email: String,
    /// Counts the changes. It is in the ETag, not in the body.
    #[serde(skip)]
    pub version: i64,
}

/// A user that does not exist yet.
#[derive(Debug)]
pub struct NewUser {
    /// The name.
    pub name: Name,
    /// The e-mail address.
    pub email: Email,
    /// To log in with. A user without one cannot.
    pub password: Option<Password>,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Change the own data.
    User,
    /// Change everybody's, and add users.
    Admin,
}

/// A user with what only logging in needs.
pub struct Account {
    /// The user.
    pub user: User,
    /// What the user may do.
    pub role: Role,
    /// Counts the passwords that the user had.
    pub credentials: i64,
    /// Of the password, if there is one.
    pub password_hash: Option<String>,
}

/// What somebody claims to be the e-mail address and password of a user.
pub struct Credentials {
    /// Any text.
    pub email: String,
    /// Any text.
    pub password: String,
}

/// What to change of a user; `None` leaves the value as it is.
#[derive(Debug)]
pub struct Change {
    /// The new name.
    pub name: Option<Name>,
    /// The new e-mail address.
    pub email: Option<Email>,
}

impl Change {
    /// Whether nothing is to be changed at all.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.email.is_none()
    }
}

/// One mistake in what a request says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field or query parameter.
    pub field: String,
    /// What was expected, and what was found.
    pub detail: String,
}

impl FieldError {
    /// One mistake in `field`.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            detail: detail.into(),
        }
    }
}

/// A user's name: 1 to 100 characters, without white space at its ends, and without control characters (PostgreSQL cannot even
/// store U+0000, and the others make logs and terminals lie).
#[derive(Debug)]
pub struct Name(String);

impl Name {
    const LONGEST: usize = 100;

    /// Takes white space off the ends, and checks the rest.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 {
            Err("expected 1 to 100 characters, found none but white space".into())
        } else if length > Self::LONGEST {
            Err(format!("expected 1 to 100 characters, found {length}"))
        } else if text.chars().any(char::is_control) {
            Err("expected no control characters, found one".into())
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An e-mail address, as HTML defines one for `<input type="email">`
/// (<https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address>), at most 254 bytes long (RFC 5321, section 4.5.3.1.3,
/// with erratum 1690). That is ASCII only, so that both databases agree on what "the same without case" means; domains of other
/// scripts come as `xn--…`.
#[derive(Debug)]
pub struct Email(String);

impl Email {
    const LONGEST: usize = 254;
    const LONGEST_LOCAL: usize = 64;
    const LONGEST_LABEL: usize = 63;

    /// Checks the address.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > Self::LONGEST {
            return Err(format!("expected at most 254 bytes, found {}", text.len()));
        }
        let (local, domain) = text.split_once('@').unwrap_or_default();
        let local_fits = (1..=Self::LONGEST_LOCAL).contains(&local.len());
        if local_fits && local.bytes().all(is_local) && domain.split('.').all(is_label) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected an e-mail address such as ada@example.com".into())
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A new password: 8 to 128 characters, whichever they are (NIST SP 800-63B, section 3.1.1.2, asks for nothing else).
pub struct Password(String);

impl Password {
    /// Checks the length.
    pub fn new(text: &str) -> Result<Self, String> {
        match text.chars().count() {
            8..=128 => Ok(Self(text.to_owned())),
            length => Err(format!("expected 8 to 128 characters, found {length}")),
        }
    }

    /// The password.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

fn is_label(label: &str) -> bool {
    let fits = (1..=Email::LONGEST_LABEL).contains(&label.len());
    let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    fits && plain && !label.starts_with('-') && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_trimmed_and_counted_in_characters() {
        assert_eq!(Name::new("  Ada \n").expect("a name").as_str(), "Ada");
        assert!(Name::new(&"ü".repeat(100)).is_ok());
        assert!(Name::new(&"ü".repeat(101)).is_err());
        for wrong in ["", "   ", "\u{a0}", "a\u{0}b", "a\u{1b}[2J"] {
            assert!(Name::new(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_password_is_counted_in_characters_and_never_shown() {
        for right in ["12345678", "        ", &"ü".repeat(128)] {
            assert!(Password::new(right).is_ok(), "{right:?} was refused");
        }
        for wrong in ["", "1234567", &"x".repeat(129)] {
            assert!(Password::new(wrong).is_err(), "{wrong:?} was taken");
        }
        assert!(!format!("{:?}", Password::new("a secret").expect("long enough")).contains("secret"));
    }

    #[test]
    fn an_email_is_what_a_browser_takes_for_one() {
        for right in [
            "a@b",
            "ada@example.com",
            "a.b+c@x-y.example",
            "o'neil@example.com",
            "a@xn--bcher-kva.example",
        ] {
            assert!(Email::new(right).is_ok(), "{right:?} was refused");
        }
        let wrong = [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a@b..c",
            "a@-b.c",
            "a@b-.c",
            "a@b_c",
            "jörg@x.de",
            "a@b.",
            " a@b.c",
            "a@b.c\n",
        ];
        for wrong in wrong {
            assert!(Email::new(wrong).is_err(), "{wrong:?} was taken");
        }
        assert!(Email::new(&format!("{}@b.c", "a".repeat(65))).is_err());
        let domain = ["d".repeat(63).as_str(); 3].join(".");
        assert!(Email::new(&format!("{}@{domain}", "a".repeat(62))).is_ok(), "254 bytes are fine");
        assert!(Email::new(&format!("{}@{domain}", "a".repeat(63))).is_err(), "255 are not");
    }

    proptest! {
        #[test]
        fn what_is_taken_is_printable_and_within_its_bounds(text in "\\PC{0,120}|[a-z@.]{0,20}|.{0,120}") {
            if let Ok(name) = Name::new(&text) {
                prop_assert!((1..=100).contains(&name.as_str().chars().count()));
                prop_assert_eq!(name.as_str().trim(), name.as_str());
                prop_assert!(!name.as_str().contains('\0'));
            }
            if let Ok(email) = Email::new(&text) {
                prop_assert!(email.as_str().is_ascii() && email.as_str().len() <= 254);
                prop_assert_eq!(email.as_str().matches('@').count(), 1);
            }
        }
    }
}

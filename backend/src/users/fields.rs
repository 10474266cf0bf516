//! The JSON object of a request, read without giving up at the first mistake.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Change, Credentials, Email, FieldError, Name, NewUser, Password};

/// Mistakes beyond this number are not listed: a body of 10 MB could hold a million unknown fields.
const MOST_MISTAKES: usize = 20;
/// What is wrong with a field that no request knows.
const UNKNOWN: &str = "unknown field";

/// The fields that any request knows.
const KNOWN: [&str; 4] = ["name", "email", "password", "refresh_token"];

/// What a request's object says: the fields that some request knows, and the mistakes found while reading.
#[derive(Default)]
pub struct Fields {
    given: [Given; KNOWN.len()],
    mistakes: Vec<FieldError>,
}

/// The value of a known field.
#[derive(Default)]
enum Given {
    #[default]
    Absent,
    Text(String),
    /// Something that is not text; the word says what.
    Other(&'static str),
}

impl Fields {
    /// A new user, who need not be able to log in.
    pub fn into_new_user(mut self) -> Result<NewUser, Vec<FieldError>> {
        self.only("name, email and password");
        let (name, email) = (self.needed("name", Name::new), self.needed("email", Email::new));
        let password = self.optional("password", Password::new);
        match (name, email) {
            (Some(name), Some(email)) if self.mistakes.is_empty() => Ok(NewUser { name, email, password }),
            _ => Err(self.mistakes),
        }
    }

    /// A new user who is going to log in.
    pub fn into_registration(mut self) -> Result<NewUser, Vec<FieldError>> {
        if matches!(self.of("password"), Given::Absent) {
            self.mistake("password", "expected text, found nothing");
        }
        self.into_new_user()
    }

    /// All of a user, to replace what there is.
    pub fn into_replacement(mut self) -> Result<Change, Vec<FieldError>> {
        self.only("name and email");
        let (name, email) = (self.needed("name", Name::new), self.needed("email", Email::new));
        self.done(Change { name, email })
    }

    /// Any part of a user.
    pub fn into_change(mut self) -> Result<Change, Vec<FieldError>> {
        self.only("name and email");
        let (name, email) = (self.optional("name", Name::new), self.optional("email", Email::new));
        self.done(Change { name, email })
    }

    /// What somebody logs in with. Whether it is right is not decided by its form.
    pub fn into_credentials(mut self) -> Result<Credentials, Vec<FieldError>> {
        self.only("email and password");
        let (email, password) = (self.needed("email", any), self.needed("password", any));
        self.done(Credentials {
            email: email.unwrap_or_default(),
            password: password.unwrap_or_default(),
        })
    }

    /// The refresh token alone.
    pub fn into_refresh_token(mut self) -> Result<String, Vec<FieldError>> {
        self.only("refresh_token");
        let token = self.needed("refresh_token", any);
        self.done(token.unwrap_or_default())
    }

    fn done<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        if self.mistakes.is_empty() { Ok(value) } else { Err(self.mistakes) }
    }

    /// Takes all other fields for mistakes. `known` is for people.
    fn only(&mut self, known: &str) {
        for mistake in self.mistakes.iter_mut().filter(|mistake| mistake.detail == UNKNOWN) {
            mistake.detail = format!("{UNKNOWN}; known here: {known}");
        }
        for field in KNOWN {
            if !known.contains(field) && !matches!(std::mem::take(self.of(field)), Given::Absent) {
                self.mistake(field, format!("{UNKNOWN}; known here: {known}"));
            }
        }
    }

    fn of(&mut self, field: &str) -> &mut Given {
        let at = KNOWN.iter().position(|known| *known == field);
        // Only names of the list are asked for.
        &mut self.given[at.unwrap_or_default()]
    }

    fn needed<T>(&mut self, field: &str, check: fn(&str) -> Result<T, String>) -> Option<T> {
        if matches!(self.of(field), Given::Absent) {
            self.mistake(field, "expected text, found nothing");
        }
        self.optional(field, check)
    }

    fn optional<T>(&mut self, field: &str, check: fn(&str) -> Result<T, String>) -> Option<T> {
        let outcome = match std::mem::take(self.of(field)) {
            Given::Absent => return None,
            Given::Text(text) => check(&text),
            Given::Other(kind) => Err(format!("expected text, found {kind}")),
        };
        outcome.map_err(|detail| self.mistake(field, detail)).ok()
    }

    fn mistake(&mut self, field: &str, detail: impl Into<String>) {
        if self.mistakes.len() < MOST_MISTAKES {
            self.mistakes.push(FieldError::new(field, detail));
        }
    }

    fn unknown(&mut self, field: &str) {
        // The name is the client's; a long one is cut, so that the answer stays small.
        let shown: String = field.chars().take(100).collect();
        self.mistake(&shown, UNKNOWN);
    }
}

fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<String>()? {
            if !KNOWN.contains(&key.as_str()) {
                map.next_value::<IgnoredAny>()?;
                fields.unknown(&key);
                continue;
            }
            let slot = fields.of(&key);
            let twice = !matches!(slot, Given::Absent);
            *slot = map.next_value()?;
            if twice {
                fields.mistake(&key, "expected once, found twice");
            }
        }
        Ok(fields)
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Given, E> {
        Ok(Given::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Given, E> {
        Ok(Given::Text(text))
    }

    fn visit_unit<E>(self) -> Result<Given, E> {
        Ok(Given::Other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Given, E> {
        Ok(Given::Other("true or false"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Given, E> {
        Ok(Given::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Given, E> {
        Ok(Given::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Given, E> {
        Ok(Given::Other("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Given, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Given::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(json: &str) -> Vec<String> {
        let fields: Fields = serde_json::from_str(json).expect("an object");
        let found = fields.into_new_user().expect_err("a mistake");
        found.into_iter().map(|mistake| mistake.field).collect()
    }

    #[test]
    fn all_mistakes_are_found_at_once() {
        assert_eq!(
            mistakes(r#"{"emial": "x", "email": [1, {"a": null}], "password": "x"}"#),
            ["emial", "name", "email", "password"]
        );
        assert_eq!(mistakes(r#"{"name": "", "email": null}"#), ["name", "email"]);
    }

    #[test]
    fn a_field_given_twice_is_a_mistake() {
        assert_eq!(mistakes(r#"{"name": "a", "email": "a@b.c", "name": "b"}"#), ["name"]);
    }

    #[test]
    fn a_field_of_another_request_is_unknown() {
        let of = |json: &str| serde_json::from_str::<Fields>(json).expect("an object");
        let change = of(r#"{"password": "12345678", "role": "admin"}"#)
            .into_change()
            .expect_err("a mistake");
        let text: Vec<String> = change
            .into_iter()
            .map(|found| format!("{} {}", found.field, found.detail))
            .collect();
        assert_eq!(
            text,
            [
                "role unknown field; known here: name and email",
                "password unknown field; known here: name and email"
            ]
        );
        assert!(of(r#"{"email": "a@b", "password": "x", "name": "a"}"#).into_credentials().is_err());
        assert!(of(r#"{"refresh_token": "x"}"#).into_new_user().is_err());
        assert!(of(r#"{"name": "a", "email": "a@b"}"#).into_registration().is_err());
    }

    #[test]
    fn a_million_unknown_fields_make_a_short_answer() {
        let body: Vec<String> = (0..100_000).map(|n| format!("\"x{n}\":0")).collect();
        assert_eq!(mistakes(&format!("{{{}}}", body.join(","))).len(), MOST_MISTAKES);
        assert_eq!(mistakes(&format!("{{\"{}\": 1}}", "é".repeat(5000)))[0].chars().count(), 100);
    }

    #[test]
    fn deep_nesting_is_skipped_without_recursion_or_refused() {
        let deep = format!("{{\"x\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        // Whatever serde_json thinks of it, it must not overflow the stack.
        let _ = serde_json::from_str::<Fields>(&deep);
    }

    #[test]
    fn an_empty_object_changes_nothing() {
        let fields: Fields = serde_json::from_str("{}").expect("an object");
        assert!(fields.into_change().expect("no mistake").is_empty());
    }
}

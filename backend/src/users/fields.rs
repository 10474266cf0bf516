//! The JSON object of a request, read without giving up at the first mistake.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Change, Email, FieldError, Name, NewUser};

/// Mistakes beyond this number are not listed: a body of 10 MB could hold a million unknown fields.
const MOST_MISTAKES: usize = 20;

/// What a request's object says: the fields that are known, and the mistakes found while reading.
#[derive(Debug, Default)]
pub struct Fields {
    name: Given,
    email: Given,
    mistakes: Vec<FieldError>,
}

/// The value of a known field.
#[derive(Debug, Default)]
enum Given {
    #[default]
    Absent,
    Text(String),
    /// Something that is not text; the word says what.
    Other(&'static str),
}

impl Fields {
    /// All that a new user needs (also for PUT, which replaces all of an old one).
    pub fn into_new_user(mut self) -> Result<NewUser, Vec<FieldError>> {
        let name = self.needed("name", |fields| &mut fields.name, Name::new);
        let email = self.needed("email", |fields| &mut fields.email, Email::new);
        match (name, email) {
            (Some(name), Some(email)) if self.mistakes.is_empty() => Ok(NewUser { name, email }),
            _ => Err(self.mistakes),
        }
    }

    /// Any part of a user.
    pub fn into_change(mut self) -> Result<Change, Vec<FieldError>> {
        let name = self.optional("name", |fields| &mut fields.name, Name::new);
        let email = self.optional("email", |fields| &mut fields.email, Email::new);
        if self.mistakes.is_empty() {
            Ok(Change { name, email })
        } else {
            Err(self.mistakes)
        }
    }

    fn needed<T>(&mut self, field: &str, of: fn(&mut Self) -> &mut Given, check: fn(&str) -> Result<T, String>) -> Option<T> {
        if matches!(of(self), Given::Absent) {
            self.mistake(field, "expected text, found nothing");
        }
        self.optional(field, of, check)
    }

    fn optional<T>(&mut self, field: &str, of: fn(&mut Self) -> &mut Given, check: fn(&str) -> Result<T, String>) -> Option<T> {
        let outcome = match std::mem::take(of(self)) {
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
        let detail = match field {
            "password" => "passwords are not supported yet: this server runs without authentication",
            _ => "unknown field; the known ones are name and email",
        };
        self.mistake(&shown, detail);
    }
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
            let slot = match key.as_str() {
                "name" => &mut fields.name,
                "email" => &mut fields.email,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    fields.unknown(&key);
                    continue;
                }
            };
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
            ["emial", "password", "name", "email"]
        );
        assert_eq!(mistakes(r#"{"name": "", "email": null}"#), ["name", "email"]);
    }

    #[test]
    fn a_field_given_twice_is_a_mistake() {
        assert_eq!(mistakes(r#"{"name": "a", "email": "a@b.c", "name": "b"}"#), ["name"]);
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

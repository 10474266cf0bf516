//! `${NAME}` and `${NAME:-default}` in strings.
//!
//! The environment is looked at after the file was parsed, string by string: what stands in a variable is only ever the content of that
//! string, and cannot add a key or end a quote. As in a shell, the default also stands in for a variable that is set to nothing. `$$` is a
//! `$`; a `$` before anything else is one too, so that a regular expression keeps its end.

use std::borrow::Cow;

/// Looks a variable up.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Why a string cannot be completed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The variable is not set, and there is no default.
    Unset(String),
    /// There is no `}`.
    Unclosed,
    /// This is no name of a variable.
    BadName(String),
}

/// Whether a string is one `${…}` and nothing else, so that it may stand for a number or a flag.
pub(crate) fn is_reference(text: &str) -> bool {
    text.strip_prefix("${")
        .is_some_and(|rest| rest.find('}') == Some(rest.len().wrapping_sub(1)))
}

/// The string with its references replaced.
pub(crate) fn interpolate<'a>(text: &'a str, environment: &Environment<'_>) -> Result<Cow<'a, str>, Missing> {
    let Some(first) = text.find('$') else {
        return Ok(Cow::Borrowed(text));
    };
    let mut result = text[..first].to_owned();
    let mut rest = &text[first..];
    while let Some(dollar) = rest.find('$') {
        result.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        rest = if let Some(inside) = after.strip_prefix('{') {
            let end = inside.find('}').ok_or(Missing::Unclosed)?;
            result.push_str(&look_up(&inside[..end], environment)?);
            &inside[end + 1..]
        } else {
            result.push('$');
            after.strip_prefix('$').unwrap_or(after)
        };
    }
    result.push_str(rest);
    Ok(Cow::Owned(result))
}

/// What `NAME` or `NAME:-default` stands for.
fn look_up(reference: &str, environment: &Environment<'_>) -> Result<String, Missing> {
    let (name, default) = reference
        .split_once(":-")
        .map_or((reference, None), |(name, default)| (name, Some(default)));
    let valid =
        !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !valid {
        return Err(Missing::BadName(name.to_owned()));
    }
    match (environment(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Missing::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(text: &str) -> Result<String, Missing> {
        let environment = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${A} $$ \"\nx = 1".to_owned()),
            _ => None,
        };
        interpolate(text, &environment).map(Cow::into_owned)
    }

    #[test]
    fn references_are_replaced_once() {
        assert_eq!(expand("${A}${A}-$${A}-$$-$A-$").unwrap(), "11-${A}-$-$A-$");
        assert_eq!(expand("${NONE:-x:-y}${EMPTY:-z}[${EMPTY}]").unwrap(), "x:-yz[]");
        assert_eq!(expand("${TRICKY}").unwrap(), "${A} $$ \"\nx = 1");
        assert_eq!(expand("~^/u/[0-9]+$").unwrap(), "~^/u/[0-9]+$");
    }

    #[test]
    fn what_cannot_be_replaced_is_an_error() {
        assert_eq!(expand("a${NONE}"), Err(Missing::Unset("NONE".into())));
        assert_eq!(expand("${A"), Err(Missing::Unclosed));
        assert_eq!(expand("${}"), Err(Missing::BadName(String::new())));
        assert_eq!(expand("${1A}"), Err(Missing::BadName("1A".into())));
        assert_eq!(expand("${A-x}"), Err(Missing::BadName("A-x".into())));
    }

    #[test]
    fn only_one_reference_alone_may_stand_for_a_number() {
        assert!(is_reference("${A}") && is_reference("${A:-1}"));
        assert!(!is_reference("${A}${B}") && !is_reference("${A}0") && !is_reference("$A") && !is_reference("${A") && !is_reference("${"));
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_stays_as_it_is(text in "[^$]*") {
            prop_assert_eq!(expand(&text).unwrap(), text);
        }

        #[test]
        fn doubled_dollars_give_any_text(text in "\\PC*") {
            prop_assert_eq!(expand(&text.replace('$', "$$")).unwrap(), text);
        }
    }
}

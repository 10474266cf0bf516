//! Strings with `{scheme}`, `{host}`, `{path}` and `{query}` in them.

use crate::model::{Part, Template};

/// Why a string is no template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// There is a `{` without its `}`, or the reverse.
    Unmatched(char),
    /// Nothing has this name.
    Unknown(String),
}

/// Reads a template.
pub(crate) fn parse(text: &str) -> Result<Template, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        if rest[brace..].starts_with('}') {
            return Err(TemplateError::Unmatched('}'));
        }
        if brace > 0 {
            parts.push(Part::Literal(rest[..brace].into()));
        }
        let end = rest[brace..].find('}').ok_or(TemplateError::Unmatched('{'))?;
        parts.push(placeholder(&rest[brace + 1..brace + end])?);
        rest = &rest[brace + end + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.into()));
    }
    Ok(Template(parts))
}

fn placeholder(name: &str) -> Result<Part, TemplateError> {
    match name {
        "scheme" => Ok(Part::Scheme),
        "host" => Ok(Part::Host),
        "path" => Ok(Part::Path),
        "query" => Ok(Part::Query),
        _ => Err(TemplateError::Unknown(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raw::PLACEHOLDERS;

    fn show(template: &Template) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.to_string(),
            Part::Scheme => "{scheme}".into(),
            Part::Host => "{host}".into(),
            Part::Path => "{path}".into(),
            Part::Query => "{query}".into(),
        };
        template.0.iter().map(part).collect()
    }

    #[test]
    fn a_template_is_literals_and_placeholders() {
        let template = parse("{scheme}://{host}:8443{path}{query}").unwrap();
        let expected = [
            Part::Scheme,
            Part::Literal("://".into()),
            Part::Host,
            Part::Literal(":8443".into()),
            Part::Path,
            Part::Query,
        ];
        assert_eq!(template.0, expected);
        assert_eq!(parse("{x}"), Err(TemplateError::Unknown("x".into())));
        assert_eq!(parse("{{path}"), Err(TemplateError::Unknown("{path".into())));
        assert_eq!(parse("a{path"), Err(TemplateError::Unmatched('{')));
        assert_eq!(parse("a}b"), Err(TemplateError::Unmatched('}')));
        assert!(PLACEHOLDERS.iter().all(|name| placeholder(name).is_ok()));
    }

    proptest! {
        #[test]
        fn whatever_parses_shows_as_it_was(text in "([a-z/]|\\{(scheme|host|path|query)\\}|[{}])*") {
            if let Ok(template) = parse(&text) {
                prop_assert_eq!(show(&template), text);
            }
        }
    }
}

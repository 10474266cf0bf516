//! What `Cache-Control` and `CDN-Cache-Control` say.
//!
//! RFC 9111 §5.2 asks a cache to be tolerant in one direction: directives it does not know are skipped, names compare without case, an
//! argument may be a token or a quoted string, and what cannot be read is taken at its strictest (§4.2.1: a response with invalid freshness
//! counts as stale). So junk after a name costs nothing (`no-store;` is `no-store`), while junk in a number makes the number 0. Of a directive
//! given twice the first counts, as §4.2.1 allows.
//!
//! `CDN-Cache-Control` (RFC 9213) is stricter: a structured dictionary (RFC 8941), which counts as a whole or, empty or broken, not at all.

use http::HeaderName;
use sfv::{BareItem, ListEntry, Parser};

/// The greatest number of seconds that is told from more (RFC 9111 §1.2.2).
pub const MAX_DELTA: u64 = 1 << 31;

/// The directives that a shared cache acts upon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// `no-store`
    pub no_store: bool,
    /// `public`
    pub public: bool,
    /// `must-revalidate`
    pub must_revalidate: bool,
    /// `proxy-revalidate`
    pub proxy_revalidate: bool,
    /// `must-understand`
    pub must_understand: bool,
    /// `no-cache`, of the whole response or of some fields
    pub no_cache: Scope,
    /// `private`, of the whole response or of some fields
    pub private: Scope,
    /// `max-age` in seconds; 0 where it could not be read
    pub max_age: Option<u64>,
    /// `s-maxage` in seconds; 0 where it could not be read
    pub s_maxage: Option<u64>,
    /// `stale-while-revalidate` (RFC 5861 §3) in seconds; 0 where it could not be read
    pub stale_while_revalidate: Option<u64>,
    /// `stale-if-error` (RFC 5861 §4) in seconds; 0 where it could not be read
    pub stale_if_error: Option<u64>,
}

/// What a directive is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// It is not there.
    #[default]
    Nothing,
    /// Only these fields (RFC 9111 §5.2.2.4, §5.2.2.7).
    Fields(Vec<HeaderName>),
    /// The whole response.
    Whole,
}

/// What stands behind a directive's `=`.
pub(super) enum Argument<'a> {
    None,
    Text(&'a [u8]),
    Unreadable,
}

impl Directives {
    /// Reads every `Cache-Control` line.
    pub fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut directives = Self::default();
        for line in lines {
            let mut rest = line;
            while let Some((name, argument, after)) = next_directive(rest) {
                directives.add(name, &argument);
                rest = after;
            }
        }
        directives
    }

    /// Reads every line of a targeted field; `None` where the field is to be ignored (RFC 9213 §2.2), so that `Cache-Control` counts.
    pub fn parse_targeted<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut text = lines.next()?.to_vec();
        for line in lines {
            text.extend_from_slice(b", ");
            text.extend_from_slice(line);
        }
        let dictionary = Parser::parse_dictionary(&text).ok().filter(|dictionary| !dictionary.is_empty())?;
        let mut directives = Self::default();
        for (name, entry) in &dictionary {
            let number;
            let argument = match entry {
                ListEntry::Item(item) => match &item.bare_item {
                    BareItem::Boolean(false) => continue,
                    BareItem::Boolean(true) => Argument::None,
                    BareItem::Integer(seconds) => {
                        number = seconds.to_string();
                        Argument::Text(number.as_bytes())
                    }
                    // A value of the wrong type is not to be consumed (RFC 9213 §2.1): a lifetime in quotes is none.
                    BareItem::String(text) if matches!(name.as_str(), "private" | "no-cache") => Argument::Text(text.as_bytes()),
                    _ => Argument::Unreadable,
                },
                ListEntry::InnerList(_) => Argument::Unreadable,
            };
            directives.add(name.as_bytes(), &argument);
        }
        Some(directives)
    }

    fn add(&mut self, name: &[u8], argument: &Argument<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("stale-while-revalidate") {
            self.stale_while_revalidate.get_or_insert(argument.seconds());
        } else if is("stale-if-error") {
            self.stale_if_error.get_or_insert(argument.seconds());
        } else if is("no-cache") {
            self.no_cache.add(argument);
        } else if is("private") {
            self.private.add(argument);
        } else if is("max-age") {
            self.max_age.get_or_insert(argument.seconds());
        } else if is("s-maxage") {
            self.s_maxage.get_or_insert(argument.seconds());
        }
    }
}

impl Scope {
    fn add(&mut self, argument: &Argument<'_>) {
        let named = match argument {
            Argument::Text(text) => text
                .split(|&byte| byte == b',')
                .map(|name| HeaderName::from_bytes(name.trim_ascii()))
                .collect(),
            Argument::None | Argument::Unreadable => Ok(Vec::new()),
        };
        match (named, &mut *self) {
            (_, Self::Whole) => {}
            (Ok(fields), Self::Nothing) if !fields.is_empty() => *self = Self::Fields(fields),
            (Ok(fields), Self::Fields(known)) if !fields.is_empty() => known.extend(fields),
            _ => *self = Self::Whole,
        }
    }

    /// The fields that it is about, where it is about fields.
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            Self::Nothing | Self::Whole => &[],
        }
    }
}

impl Argument<'_> {
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Text(text) => delta_seconds(text),
            Self::None | Self::Unreadable => None,
        }
    }

    pub(super) fn seconds(&self) -> u64 {
        self.number().unwrap_or(0)
    }
}

/// Reads delta-seconds (RFC 9111 §1.2.2); what is too large is [`MAX_DELTA`].
pub fn delta_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        text.iter()
            .fold(0, |sum: u64, digit| (sum * 10 + u64::from(digit - b'0')).min(MAX_DELTA)),
    )
}

/// The first directive of a line, and what comes after its comma.
pub(super) fn next_directive(line: &[u8]) -> Option<(&[u8], Argument<'_>, &[u8])> {
    let start = line.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
    let line = &line[start..];
    let (name, rest) = line.split_at(line.iter().position(|&byte| !is_token(byte)).unwrap_or(line.len()));
    match rest {
        [b'=', b'"', quoted @ ..] => {
            let (argument, after) = match closing_quote(quoted) {
                Some(end) => (unescaped(&quoted[..end]), &quoted[end + 1..]),
                None => (Argument::Unreadable, &quoted[quoted.len()..]),
            };
            let comma = next_comma(after);
            // Something between the quote and the comma is no quoted string.
            let argument = if after[..comma].trim_ascii().is_empty() {
                argument
            } else {
                Argument::Unreadable
            };
            Some((name, argument, &after[comma..]))
        }
        [b'=', value @ ..] => {
            let comma = next_comma(value);
            Some((name, Argument::Text(value[..comma].trim_ascii_end()), &value[comma..]))
        }
        [] | [b',', ..] => Some((name, Argument::None, rest)),
        _ => {
            let comma = next_comma(rest);
            let argument = if rest[..comma].trim_ascii().is_empty() {
                Argument::None
            } else {
                Argument::Unreadable
            };
            Some((name, argument, &rest[comma..]))
        }
    }
}

/// The next comma that stands in no quoted string, or the end.
fn next_comma(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b',' => return at,
            b'"' => match closing_quote(&text[at + 1..]) {
                Some(end) => at += end + 2,
                None => return text.len(),
            },
            _ => at += 1,
        }
    }
    text.len()
}

/// Where a quoted string ends that began just before `text`.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// Nothing that a directive may say needs an escape, so that what has one is not worth a copy.
fn unescaped(quoted: &[u8]) -> Argument<'_> {
    if quoted.contains(&b'\\') {
        Argument::Unreadable
    } else {
        Argument::Text(quoted)
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;

//! Numbers in paths, queries and tags.

/// A number as this API itself would write it: digits only, no sign, no leading zero, within 63 bits. So every user has one path
/// and one ETag.
pub(super) fn parse(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_the_usual_spelling_is_a_number() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("9223372036854775807"), Some(i64::MAX));
        for wrong in ["", "-1", "+1", "01", "00", "1.0", " 1", "1e3", "9223372036854775808", "x", "１"] {
            assert_eq!(parse(wrong), None, "{wrong:?} was taken");
        }
    }
}

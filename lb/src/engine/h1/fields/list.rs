//! Comma-separated lists (RFC 9110 §5.6.1).

use crate::engine::h1::chars::trim;

/// Every element between commas, trimmed, the empty ones too.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(|element| trim(element).1)
}

/// The elements that are not empty, which a recipient must ignore.
pub(in crate::engine::h1) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    elements(value).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_members_are_left_out() {
        assert_eq!(members(b" a ,, b\t,").collect::<Vec<_>>(), [&b"a"[..], b"b"]);
        assert_eq!(members(b" , ").count(), 0);
    }
}

//! Which bytes may stand where.
//!
//! A head is text made of a few alphabets: tokens (RFC 9110 §5.6.2), field values (§5.5), request targets (RFC 3986). Each is a table of 256
//! entries that the compiler builds, or, for values, a test of eight bytes at once, because values are the longest part of a head.

/// `tchar`: what methods and field names are made of.
pub(super) const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");

/// `unreserved` and `sub-delims` of RFC 3986: what a host name may be made of. The comma is left out, since it stands there only when
/// something on the way has joined two `Host` fields; so is `%`, which no resolver understands and no two servers read alike.
pub(super) const HOST_NAME: [bool; 256] = table(b"-._~!$&'()*+;=");

/// A byte of the target that makes it invalid.
pub(super) const NOT_IN_TARGET: u8 = 1;
/// A byte that browsers send as it is in a query and escape in a path.
pub(super) const ONLY_IN_QUERY: u8 = 2;

/// Flags of each byte of a request target. RFC 3986 would also forbid `\ ^ { | }`, but browsers send them unescaped in queries, so every
/// server takes them. `#` begins a fragment, which is never sent, and which readers cut off or keep as they like.
pub(super) const TARGET: [u8; 256] = {
    let mut flags = [NOT_IN_TARGET; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        flags[byte] = 0;
        byte += 1;
    }
    flags[b'"' as usize] = NOT_IN_TARGET;
    flags[b'#' as usize] = NOT_IN_TARGET;
    flags[b'<' as usize] = NOT_IN_TARGET;
    flags[b'>' as usize] = NOT_IN_TARGET;
    flags[b'`' as usize] = ONLY_IN_QUERY;
    flags
};

const fn table(besides_letters_and_digits: &[u8]) -> [bool; 256] {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        allowed[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < besides_letters_and_digits.len() {
        allowed[besides_letters_and_digits[index] as usize] = true;
        index += 1;
    }
    allowed
}

/// Whether these bytes are a token.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| TOKEN[usize::from(byte)])
}

/// Whether a field value may not have this byte: control characters but the tab (RFC 9110 §5.5). CR and LF are among them.
pub(super) const fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// Where the first byte stands that no field value may have: in a line that is in order, its CR.
#[inline]
pub(super) fn find_control(bytes: &[u8]) -> Option<usize> {
    find(bytes, not_printable, is_control)
}

/// Where the first byte stands that is no part of a token: in a field line that is in order, its colon.
#[inline]
pub(super) fn find_token_end(bytes: &[u8]) -> Option<usize> {
    find(bytes, not_alphanumeric_or_dash, |byte| !TOKEN[usize::from(byte)])
}

/// The first byte that `is_end` holds for. `suspects` marks the lanes of eight bytes that may be one, so that most bytes need no look of
/// their own.
#[inline(always)]
fn find(bytes: &[u8], suspects: impl Fn(u64) -> u64, is_end: impl Fn(u8) -> bool) -> Option<usize> {
    let mut words = bytes.chunks_exact(8);
    let mut at = 0;
    for word in &mut words {
        let marks = suspects(<[u8; 8]>::try_from(word).map_or(0, u64::from_le_bytes));
        if marks != 0 {
            let first = (marks.trailing_zeros() / 8) as usize;
            if let Some(found) = word[first..].iter().position(|&byte| is_end(byte)) {
                return Some(at + first + found);
            }
        }
        at += 8;
    }
    words.remainder().iter().position(|&byte| is_end(byte)).map(|found| at + found)
}

// Eight bytes at once: a `u64` is taken for eight lanes, of which each adds up to less than 256, so that none carries into the next. The top
// bit of a lane is the answer for its byte (Mycroft; Anderson, "Bit Twiddling Hacks").
const EACH: u64 = 0x0101_0101_0101_0101;
const TOP: u64 = EACH << 7;

/// Lanes of at most 0x7f that are at least `least`.
const fn at_least(lanes: u64, least: u8) -> u64 {
    (lanes + EACH * (0x80 - least as u64)) & TOP
}

/// Marks control characters, the tab among them.
const fn not_printable(word: u64) -> u64 {
    let low = word & !TOP;
    (!at_least(low, 0x20) | at_least(low, 0x7f)) & !word & TOP
}

/// Marks all but letters, digits and `-`.
const fn not_alphanumeric_or_dash(word: u64) -> u64 {
    let low = word & !TOP;
    let folded = low | (EACH * 0x20);
    let letter = at_least(folded, b'a') & !at_least(folded, b'z' + 1);
    let digit = at_least(low, b'0') & !at_least(low, b'9' + 1);
    let dash = !at_least(low ^ (EACH * b'-' as u64), 1);
    (!(letter | digit | dash) | word) & TOP
}

/// How many spaces and tabs stand before, and what is left without those before and after.
pub(super) fn trim(bytes: &[u8]) -> (usize, &[u8]) {
    let mut rest = bytes;
    while let [b' ' | b'\t', after @ ..] = rest {
        rest = after;
    }
    let before = bytes.len() - rest.len();
    while let [inner @ .., b' ' | b'\t'] = rest {
        rest = inner;
    }
    (before, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_bytes_at_once_find_what_one_at_a_time_finds(bytes in prop::collection::vec(prop_oneof![8 => 0x20u8..0x7f, 2 => any::<u8>()], 0..40)) {
            prop_assert_eq!(find_control(&bytes), bytes.iter().position(|&byte| is_control(byte)));
        }

        #[test]
        fn a_token_ends_where_one_byte_at_a_time_ends_it(bytes in prop::collection::vec(prop_oneof![20 => prop::sample::select(&b"aZ09-z'A_."[..]), 1 => any::<u8>()], 0..40)) {
            prop_assert_eq!(find_token_end(&bytes), bytes.iter().position(|&byte| !TOKEN[usize::from(byte)]));
        }

        #[test]
        fn one_bad_byte_is_found_wherever_it_stands(length in 1usize..40, at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = vec![b'a'; length];
            bytes[at.index(length)] = byte;
            let found = find_control(&bytes).is_some();
            prop_assert_eq!(found, is_control(byte));
        }
    }

    #[test]
    fn trimming_takes_spaces_and_tabs_of_both_ends_only() {
        assert_eq!(trim(b" \t a b\t "), (3, &b"a b"[..]));
        assert_eq!(trim(b"\t \t"), (3, &b""[..]));
        assert_eq!(trim(b"\x0ba"), (0, &b"\x0ba"[..]));
    }
}

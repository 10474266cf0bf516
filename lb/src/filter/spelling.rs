//! Field names in spellings that one side takes for another name and the other side does not.
//!
//! HTTP tells `X_Real_IP` from `X-Real-IP`; CGI and all that came after it do not: both become `HTTP_X_REAL_IP` (RFC 3875 §4.1.18). So a
//! field that matters is known here by any mixture of case, `-` and `_`, and what is only a look-alike never goes on.

/// Whether `name` spells `canonical`, which is in lower case with hyphens.
pub(crate) fn is(name: &[u8], canonical: &[u8]) -> bool {
    name.len() == canonical.len() && starts(name, canonical)
}

/// Whether `name` starts with a spelling of `canonical`.
pub(crate) fn starts(name: &[u8], canonical: &[u8]) -> bool {
    name.len() >= canonical.len() && name.iter().zip(canonical).all(|(&byte, &expected)| folded(byte) == expected)
}

/// Whether a name that spells a known one is written with underscores. Canonical names have none.
pub(crate) fn is_odd(name: &[u8]) -> bool {
    name.contains(&b'_')
}

fn folded(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_underscores_make_no_difference() {
        for name in ["x-real-ip", "X-Real-IP", "x_real_ip", "X-REAL_ip"] {
            assert!(is(name.as_bytes(), b"x-real-ip"), "{name}");
        }
        for name in ["x-real-ip2", "xreal-ip", "x-real", "", "x.real.ip"] {
            assert!(!is(name.as_bytes(), b"x-real-ip"), "{name}");
        }
        assert!(starts(b"X_Forwarded_User", b"x-forwarded-"));
        assert!(!starts(b"X-Forward", b"x-forwarded-"));
    }
}

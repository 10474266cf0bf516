//! Cookies, as far as balancing looks at them (RFC 6265 §4.2.1).

use http::header::COOKIE;

use crate::exchange::head::Fields;

/// The value of the first cookie of that name.
pub fn cookie<'a>(head: &'a impl Fields, name: &str) -> Option<&'a [u8]> {
    head.all(&COOKIE)
        .flat_map(|line| line.split(|&byte| byte == b';'))
        .find_map(|pair| {
            let (found, value) = pair.trim_ascii().split_at_checked(name.len())?;
            if found == name.as_bytes() { value.strip_prefix(b"=") } else { None }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_head::TestHead;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let head = TestHead::get("", "/").with("cookie", "idx=1; id=2").with("Cookie", "id=3;x=4");
        assert_eq!(cookie(&head, "id"), Some(&b"2"[..]));
        assert_eq!(cookie(&head, "x"), Some(&b"4"[..]));
        assert_eq!(cookie(&head, "i"), None);
        assert_eq!(cookie(&head, "idx=1; id"), None);
    }
}

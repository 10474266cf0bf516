//! The time of day for `Date` (RFC 9110 §6.6.1), written once a second.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `Sun, 06 Nov 1994 08:49:37 GMT`
const LENGTH: usize = 29;

thread_local! {
    static WRITTEN: Cell<(u64, [u8; LENGTH])> = const { Cell::new((0, [b' '; LENGTH])) };
}

/// Now.
pub(super) fn now() -> [u8; LENGTH] {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (at, text) = WRITTEN.get();
    if at == second {
        return text;
    }
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    let text = <[u8; LENGTH]>::try_from(text.as_bytes()).unwrap_or([b' '; LENGTH]);
    WRITTEN.set((second, text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_time_as_others_write_it() {
        let before = SystemTime::now() - Duration::from_secs(1);
        let text = String::from_utf8(now().to_vec()).unwrap();
        let read = httpdate::parse_http_date(&text).unwrap();
        assert!(before <= read && read <= SystemTime::now(), "{text}");
        assert_eq!(now().len(), LENGTH);
    }
}

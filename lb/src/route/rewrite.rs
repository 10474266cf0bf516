//! The target that is sent to a server: `rewrite = { strip_prefix, add_prefix }`, applied to the path and never to the query.
//!
//! A prefix is taken off by whole segments and in the canonical form of [`Target`], so that what a route matched is what is stripped,
//! however it was spelled: with `/api` stripped, `/%61pi/%7Ex` goes on as `/%7Ex`. What is left keeps the spelling in which it came.

use lb_config::Rewrite;

use super::Target;
use super::target;

/// The rewritten path and query. `None`: the target goes on as it was received.
pub fn rewrite(rewrite: &Rewrite, target: &Target<'_>) -> Option<Vec<u8>> {
    if target.is_asterisk() {
        return None;
    }
    let stripped = rewrite.strip_prefix.as_deref().and_then(|prefix| strip(prefix, target));
    let added = rewrite
        .add_prefix
        .as_deref()
        .map_or("", |prefix| prefix.strip_suffix('/').unwrap_or(prefix));
    if stripped.is_none() && added.is_empty() && !target.is_changed() {
        return None;
    }
    let path = stripped.unwrap_or(target.forward());
    let query = target.query();
    let mut out = Vec::with_capacity(added.len() + path.len() + query.map_or(0, |query| query.len() + 1) + 1);
    out.extend_from_slice(added.as_bytes());
    if path.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(path);
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    Some(out)
}

/// What of the forwarded path is left without the prefix; empty where they are the same. `None`: it does not start with the prefix, or
/// nothing would change.
fn strip<'t>(prefix: &str, target: &'t Target<'_>) -> Option<&'t [u8]> {
    let prefix = target::canonical(prefix);
    let prefix = prefix.strip_suffix(b"/").unwrap_or(&prefix);
    if prefix.is_empty() {
        return None;
    }
    let below = target.path().strip_prefix(prefix)?;
    if below.first().is_some_and(|&byte| byte != b'/') {
        return None;
    }
    // Both forms have the same segments, so the same number of slashes stands before what is left.
    let slashes = prefix.iter().filter(|&&byte| byte == b'/').count();
    let forward = target.forward();
    let end = forward
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'/')
        .nth(slashes)
        .map_or(forward.len(), |(at, _)| at);
    Some(&forward[end..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(strip: Option<&str>, add: Option<&str>, target: &str) -> Option<String> {
        let rule = Rewrite {
            strip_prefix: strip.map(Into::into),
            add_prefix: add.map(Into::into),
        };
        rewrite(&rule, &Target::parse(target.as_bytes())).map(|out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_prefix_goes_by_whole_segments_and_something_is_always_left() {
        for (target, left) in [
            ("/api/users?x=1", Some("/users?x=1")),
            ("/api", Some("/")),
            ("/api?x", Some("/?x")),
            ("/api/", Some("/")),
            ("/api//x", Some("//x")),
            ("/api2/x", None),
            ("/v/api", None),
        ] {
            assert_eq!(rewritten(Some("/api"), None, target).as_deref(), left, "{target}");
        }
    }

    #[test]
    fn what_is_added_comes_after_what_is_stripped() {
        assert_eq!(rewritten(Some("/api"), Some("/v1"), "/api/users").as_deref(), Some("/v1/users"));
        assert_eq!(rewritten(Some("/api"), Some("/v1"), "/users").as_deref(), Some("/v1/users"));
        assert_eq!(rewritten(None, Some("/v1"), "/?q").as_deref(), Some("/v1/?q"));
        assert_eq!(rewritten(Some("/api"), Some("/v1"), "/api").as_deref(), Some("/v1/"));
    }

    #[test]
    fn an_encoded_spelling_of_the_prefix_is_stripped_and_the_rest_keeps_its_own() {
        assert_eq!(rewritten(Some("/api"), None, "/%61pi/%7Ex%2F").as_deref(), Some("/%7Ex%2F"));
        assert_eq!(rewritten(Some("/caf%C3%A9"), None, "/café/x").as_deref(), Some("/x"));
        assert_eq!(rewritten(Some("/api"), None, "/x/../api/./y").as_deref(), Some("/y"));
    }

    #[test]
    fn nothing_to_do_is_none_unless_dot_segments_went() {
        assert_eq!(rewritten(None, None, "/a/%62?x"), None);
        assert_eq!(rewritten(Some("/"), None, "/a"), None);
        assert_eq!(rewritten(None, None, "/a/../b?x").as_deref(), Some("/b?x"));
        assert_eq!(rewritten(Some("/a"), Some("/b"), "*"), None);
    }

    proptest! {
        #[test]
        fn stripping_takes_off_exactly_the_segments_of_the_prefix(tail in target::tests::targets()) {
            let received = format!("/%61pi/v{tail}");
            let target = Target::parse(received.as_bytes());
            prop_assume!(target.path() == b"/api/v" || target.path().starts_with(b"/api/v/"));
            let out = rewritten(Some("/api/v"), None, &received).unwrap();
            let left = Target::parse(out.as_bytes());
            let expected = &target.path()[b"/api/v".len()..];
            prop_assert_eq!(left.path(), if expected.is_empty() { b"/" } else { expected });
        }
    }
}

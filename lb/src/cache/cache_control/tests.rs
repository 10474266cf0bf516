//! How directives are read.

use proptest::prelude::*;

use super::*;

fn parse(line: &str) -> Directives {
    Directives::parse([line.as_bytes()].into_iter())
}

fn targeted(line: &str) -> Option<Directives> {
    Directives::parse_targeted([line.as_bytes()].into_iter())
}

#[test]
fn reads_what_origins_write() {
    let said = parse("Public, MAX-AGE=60, s-maxage=\"120\" ,, stale-while-revalidate=30, must-revalidate");
    assert!(said.public && said.must_revalidate && !said.no_store);
    assert_eq!((said.max_age, said.s_maxage), (Some(60), Some(120)));
    assert_eq!((said.stale_while_revalidate, said.stale_if_error), (Some(30), None));
    assert_eq!(said.private, Scope::Nothing);
}

#[test]
fn lines_add_up_and_the_first_number_counts() {
    let lines: [&[u8]; 3] = [b"max-age=1", b"no-store", b"max-age=9"];
    let said = Directives::parse(lines.into_iter());
    assert!(said.no_store);
    assert_eq!(said.max_age, Some(1));
}

#[test]
fn a_number_that_cannot_be_read_is_zero() {
    for text in [
        "max-age=-1",
        "max-age=1.5",
        "max-age=a1",
        "max-age=",
        "max-age",
        "max-age=\"1",
        "max-age=1 no-store",
        "max-age =1",
        "max-age= 1",
        "max-age=\"1\"x",
        "max-age=1;public",
        "max-age=0x10",
    ] {
        assert_eq!(parse(text).max_age, Some(0), "{text}");
    }
    assert_eq!(parse("max-age=00060").max_age, Some(60));
    assert_eq!(parse("max-age=99999999999999999999999").max_age, Some(MAX_DELTA));
}

#[test]
fn what_forbids_is_heard_through_junk() {
    for text in [
        "no-store;",
        "no-store=1",
        "no-store private",
        "x=\"a, max-age=5\", No-Store",
        ", ,no-store",
        "max-age=\"a\\\"b\", no-store",
    ] {
        assert!(parse(text).no_store, "{text}");
    }
    for text in [
        "private",
        "private=\"\"",
        "private=\"a b\"",
        "private=\"set-cookie",
        "private=\"x\", private",
    ] {
        assert_eq!(parse(text).private, Scope::Whole, "{text}");
    }
}

#[test]
fn what_stands_in_a_quoted_string_is_no_directive() {
    let said = parse("ext=\"no-store, max-age=99\", max-age=5");
    assert!(!said.no_store);
    assert_eq!(said.max_age, Some(5));
}

#[test]
fn private_and_no_cache_may_be_about_fields() {
    let said = parse("private=\"Set-Cookie, x-user\", no-cache=authorization, no-cache=\"date\"");
    assert_eq!(said.private.fields(), [http::header::SET_COOKIE, HeaderName::from_static("x-user")]);
    assert_eq!(said.no_cache.fields(), [http::header::AUTHORIZATION, http::header::DATE]);
}

#[test]
fn a_targeted_field_is_a_dictionary_or_nothing() {
    assert_eq!(
        targeted("max-age=60, no-store").map(|said| (said.max_age, said.no_store)),
        Some((Some(60), true))
    );
    assert_eq!(targeted("max-age=60;x=1").and_then(|said| said.max_age), Some(60));
    assert_eq!(targeted("none"), Some(Directives::default()));
    assert_eq!(targeted("no-store=?0"), Some(Directives::default()));
    assert_eq!(targeted("private=\"x-user\"").map(|said| said.private.fields().len()), Some(1));
    for ignored in [
        "",
        "  ",
        "MAX-AGE=60",
        "max-age=60,",
        "max-age:60",
        "max-age=\"60",
        "max-age=1 no-store",
        "&",
    ] {
        assert_eq!(targeted(ignored), None, "{ignored}");
    }
    for wrong in [
        "max-age=\"60\"",
        "max-age=6.5",
        "max-age",
        "max-age=(60)",
        "max-age=-60",
        "max-age=a60",
    ] {
        assert_eq!(targeted(wrong).and_then(|said| said.max_age), Some(0), "{wrong}");
    }
}

#[test]
fn targeted_lines_are_one_dictionary() {
    let lines: [&[u8]; 2] = [b"max-age=60", b"no-store"];
    assert!(Directives::parse_targeted(lines.into_iter()).is_some_and(|said| said.no_store));
    let broken: [&[u8]; 2] = [b"max-age=60", b"=="];
    assert_eq!(Directives::parse_targeted(broken.into_iter()), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(line in proptest::collection::vec(any::<u8>(), 0..60)) {
        let lines = || [line.as_slice()].into_iter();
        let said = Directives::parse(lines());
        prop_assert!(said.max_age.unwrap_or(0) <= MAX_DELTA);
        let _ = Directives::parse_targeted(lines());
    }

    #[test]
    fn no_store_is_found_wherever_it_stands(before in "[a-z]{1,8}(=[0-9a-z]{0,5})?", after in "[a-z]{1,8}(=\"[a-z ,]{0,5}\")?") {
        let line = format!("{before}, no-store ,{after}");
        prop_assert!(parse(&line).no_store);
    }
}

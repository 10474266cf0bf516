//! A purge on its way to the others: as text, because each `lb` hashes keys and tags by a seed of its own.
//!
//! A message is any number of purges, one behind the other: a byte for the kind, then its parts, each with its length before it. What cannot
//! be read, because a newer `lb` wrote it, is taken for the purge of everything: too much is taken out rather than too little.

use crate::cache::purge::Strength;
use crate::cache::wire::{length, part, put, put_length, text};
use crate::cache::{Key, Purge};

const KEY: u8 = 1;
const URL: u8 = 2;
const PREFIX: u8 = 3;
const TAGS: u8 = 4;
const TAGS_OF_ALL: u8 = 5;
const ALL: u8 = 6;
/// Before another kind: it only marks as stale.
const SOFT: u8 = 7;

/// One purge.
pub(super) fn write(purge: &Purge<'_>, strength: Strength) -> Box<[u8]> {
    let mut out = Vec::new();
    if strength == Strength::Soft {
        out.push(SOFT);
    }
    match *purge {
        Purge::Key(key) => {
            let (upstream, rendered) = key.parts();
            out.push(KEY);
            put(&mut out, upstream.as_bytes());
            put(&mut out, rendered);
        }
        Purge::Url(url) => {
            out.push(URL);
            put(&mut out, url.as_bytes());
        }
        Purge::Prefix(prefix) => {
            out.push(PREFIX);
            put(&mut out, prefix.as_bytes());
        }
        Purge::Tags { upstream, tags } => {
            out.push(if upstream.is_some() { TAGS } else { TAGS_OF_ALL });
            put(&mut out, upstream.unwrap_or_default().as_bytes());
            put_length(&mut out, tags.len());
            tags.iter().for_each(|tag| put(&mut out, tag));
        }
        Purge::All => out.push(ALL),
    }
    out.into()
}

/// Hands out the purges of a message.
pub(super) fn read(mut message: &[u8], mut each: impl FnMut(&Purge<'_>, Strength)) {
    while !message.is_empty() {
        if next(&mut message, &mut each).is_none() {
            return each(&Purge::All, Strength::Hard);
        }
    }
}

fn next(message: &mut &[u8], each: &mut impl FnMut(&Purge<'_>, Strength)) -> Option<()> {
    let strength = match message.split_first()? {
        (&SOFT, rest) => {
            *message = rest;
            Strength::Soft
        }
        _ => Strength::Hard,
    };
    let (&kind, rest) = message.split_first()?;
    *message = rest;
    let mut each = |purge: &Purge<'_>| each(purge, strength);
    match kind {
        KEY => {
            let (upstream, rendered) = (text(message)?, part(message)?);
            each(&Purge::Key(&Key::new(upstream, rendered, rendered)));
        }
        URL => each(&Purge::Url(text(message)?)),
        PREFIX => each(&Purge::Prefix(text(message)?)),
        TAGS | TAGS_OF_ALL => {
            let upstream = text(message)?;
            let count = length(message)?;
            let tags = (0..count).map(|_| part(message)).collect::<Option<Vec<_>>>()?;
            each(&Purge::Tags {
                upstream: (kind == TAGS).then_some(upstream),
                tags: &tags,
            });
        }
        ALL => each(&Purge::All),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(message: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        read(message, |purge, strength| match strength {
            Strength::Hard => all.push(format!("{purge:?}")),
            Strength::Soft => all.push(format!("soft {purge:?}")),
        });
        all
    }

    #[test]
    fn every_purge_arrives_as_it_was_sent() {
        let key = Key::new("users", b"http://h/\xff", b"http://h/\xff");
        let tags: &[&[u8]] = &[b"users", b"user-\xe9"];
        let purges = [
            Purge::Key(&key),
            Purge::Url("/a?b"),
            Purge::Prefix(""),
            Purge::Tags { upstream: Some("u"), tags },
            Purge::Tags { upstream: None, tags },
            Purge::Tags {
                upstream: Some(""),
                tags: &[],
            },
            Purge::All,
        ];
        let message: Vec<u8> = purges.iter().flat_map(|purge| write(purge, Strength::Hard).into_vec()).collect();
        assert_eq!(shown(&message), purges.map(|purge| format!("{purge:?}")));
    }

    #[test]
    fn a_soft_one_arrives_as_a_soft_one() {
        let message = [write(&Purge::Url("/a"), Strength::Soft), write(&Purge::Url("/b"), Strength::Hard)].concat();
        assert_eq!(shown(&message), ["soft Url(\"/a\")", "Url(\"/b\")"]);
        assert_eq!(shown(&[SOFT]), ["All"]);
    }

    #[test]
    fn what_a_newer_one_writes_purges_everything() {
        let mut message = write(&Purge::Url("/a"), Strength::Hard).into_vec();
        message.extend([200, 1, 2, 3]);
        assert_eq!(shown(&message), [format!("{:?}", Purge::Url("/a")), "All".to_owned()]);
    }

    proptest! {
        #[test]
        fn what_is_cut_short_or_garbled_purges_too_much_and_never_too_little(
            bytes in proptest::collection::vec(any::<u8>(), 0..60), cut in 0_usize..40
        ) {
            shown(&bytes);
            let whole = write(&Purge::Tags { upstream: Some("users"), tags: &[b"a", b"b", b"c"] }, Strength::Hard);
            let seen = shown(&whole[..cut.min(whole.len())]);
            prop_assert!(cut == 0 || cut >= whole.len() || seen == ["All"], "{:?}", seen);
        }
    }
}

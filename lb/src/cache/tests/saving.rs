//! What is saved comes back as it was, older by the time in between, and only to whom it belongs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::saved::{Loaded, Place};
use super::super::testing::{Head, Steps, answer, fill, get, key};
use super::super::{Cache, Lookup, Now, Purge};

const MIB: u64 = 1 << 20;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    fn open(&self, now: Now) -> (Arc<Cache>, Place, Loaded) {
        Place::open(self.file(), 16 * MIB, MIB, now).unwrap()
    }

    /// Saved and read again so much later, by the wall clock.
    fn again(&self, cache: &Cache, place: &Place, now: Now, later: Duration) -> (Arc<Cache>, Place, Loaded) {
        place.save(cache, now).unwrap().unwrap();
        let now = Now {
            wall: now.wall + later,
            ..now
        };
        self.open(now)
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tagged(tag: &str) -> Head {
    answer("max-age=60, stale-while-revalidate=9, stale-if-error=7").with("cache-tag", tag)
}

fn body(hit: &super::super::Hit) -> Vec<u8> {
    hit.body().concat()
}

#[test]
fn it_comes_back_older_by_the_time_away() {
    let (folder, now) = (Folder::new(), Now::read());
    let (cache, place, loaded) = folder.open(now);
    assert_eq!(loaded, Loaded::Nothing);
    cache.store(
        "http://h/a",
        &get(),
        &tagged("t").with("etag", "\"1\"").with("x-a", "\u{e9}"),
        b"hello",
        now,
    );
    let before = cache.hit("http://h/a", &get(), now + seconds(5)).unwrap();
    let (cache, _, loaded) = folder.again(&cache, &place, now + seconds(5), seconds(20));
    assert_eq!(loaded, Loaded::Responses(1));
    let later = now + seconds(5);
    let hit = cache.hit("http://h/a", &get(), later).unwrap();
    assert_eq!((hit.age(), hit.ttl(), body(&hit)), (25, 35, b"hello".to_vec()));
    let (head, expected) = (hit.object().head(), before.object().head());
    assert_eq!((head.to_map(), head.status_line()), (expected.to_map(), expected.status_line()));
    assert!(cache.hit("http://h/a", &get(), later + seconds(34)).is_some());
    // Stale, it is served and fetched anew besides; after that it is asked for.
    assert!(matches!(
        cache.ask("http://h/a", &get(), later + seconds(36)),
        Lookup::Hit(_, Some(_))
    ));
    assert!(matches!(cache.ask("http://h/a", &get(), later + seconds(46)), Lookup::Lead(_)));
}

#[test]
fn tags_urls_and_variants_find_what_was_saved() {
    let (folder, now) = (Folder::new(), Now::read());
    let (cache, place, _) = folder.open(now);
    let gzip = get().with("accept-encoding", "gzip");
    cache.store("http://h/a", &get(), &tagged("t, u").with("vary", "accept-encoding"), b"plain", now);
    cache.store("http://h/a", &gzip, &tagged("t").with("vary", "accept-encoding"), b"packed", now);
    cache.store("http://h/b", &get(), &tagged("v"), b"", now);
    let (cache, _, loaded) = folder.again(&cache, &place, now, seconds(0));
    assert_eq!((loaded, cache.objects()), (Loaded::Responses(3), 3));
    assert_eq!(body(&cache.hit("http://h/a", &gzip, now).unwrap()), b"packed");
    assert_eq!(body(&cache.hit("http://h/a", &get(), now).unwrap()), b"plain");
    assert!(cache.hit("http://h/a", &get().with("accept-encoding", "br"), now).is_none());
    let tags: &[&[u8]] = &[b"u"];
    assert_eq!(
        cache.purge(&Purge::Tags {
            upstream: Some("users"),
            tags
        }),
        1
    );
    assert_eq!(cache.purge(&Purge::Key(&key("http://h/b"))), 1);
    assert_eq!(cache.purge(&Purge::Url("/a")), 1);
    assert_eq!((cache.bytes(), cache.objects()), (0, 0));
}

#[test]
fn what_was_marked_stale_stays_so() {
    let (folder, now) = (Folder::new(), Now::read());
    let (cache, place, _) = folder.open(now);
    cache.store("http://h/a", &get(), &answer("max-age=60"), b"a", now);
    assert_eq!(cache.soften(&Purge::All), 1);
    let (cache, _, _) = folder.again(&cache, &place, now, seconds(0));
    assert!(matches!(cache.ask("http://h/a", &get(), now), Lookup::Lead(_)));
}

#[test]
fn what_is_arriving_is_not_saved() {
    let (folder, now) = (Folder::new(), Now::read());
    let (cache, place, _) = folder.open(now);
    let mut filler = fill(cache.lead("http://h/a", &get(), now), &get(), &answer("max-age=60"), now);
    filler.push(Bytes::from_static(b"half"));
    assert_eq!(place.save(&cache, now).unwrap(), Some(0));
    filler.finish();
}

#[test]
fn a_file_is_used_once_and_only_by_whom_it_belongs_to() {
    let (folder, now) = (Folder::new(), Now::read());
    let (old, old_place, _) = folder.open(now);
    old.store("http://h/a", &get(), &answer("max-age=60"), b"a", now);
    // Another one starts while the first still drains.
    let (new, new_place, loaded) = folder.open(now);
    assert!(matches!(loaded, Loaded::Unused(_)), "{loaded:?}");
    assert_eq!(old_place.save(&old, now).unwrap(), None);
    new.store("http://h/b", &get(), &answer("max-age=60"), b"b", now);
    assert_eq!(new_place.save(&new, now).unwrap(), Some(1));
    assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(folder.open(now).2, Loaded::Responses(1));
    // That one has crashed.
    let (cache, _, loaded) = folder.open(now);
    assert!(matches!(loaded, Loaded::Unused(_)), "{loaded:?}");
    assert_eq!(cache.objects(), 0);
}

#[test]
fn a_clock_that_was_set_back_makes_it_useless() {
    let (folder, now) = (Folder::new(), Now::read());
    let (cache, place, _) = folder.open(now);
    cache.store("http://h/a", &get(), &answer("max-age=60"), b"a", now);
    place.save(&cache, now).unwrap();
    let back = Now {
        wall: now.wall - seconds(10),
        ..now
    };
    let (cache, _, loaded) = folder.open(back);
    assert!(matches!(&loaded, Loaded::Unused(reason) if reason.contains("future")), "{loaded:?}");
    assert_eq!(cache.objects(), 0);
}

#[test]
fn as_much_is_read_as_there_is_room_for() {
    let (folder, now) = (Folder::new(), Now::read());
    let (cache, place, _) = folder.open(now);
    for number in 0..100 {
        cache.store(
            &format!("http://h/{number}"),
            &get(),
            &answer("max-age=60"),
            &vec![b'x'; 50_000],
            now,
        );
    }
    place.save(&cache, now).unwrap();
    let (cache, _, loaded) = Place::open(folder.file(), 2 * MIB, MIB, now).unwrap();
    let Loaded::Responses(loaded) = loaded else { panic!("{loaded:?}") };
    assert!((30..42).contains(&loaded) && cache.bytes() <= 2 * MIB, "{loaded}");
    assert_eq!(cache.objects(), loaded);
}

#[test]
fn an_object_that_is_too_large_by_now_is_left_out() {
    let (folder, now) = (Folder::new(), Now::read());
    let (cache, place, _) = folder.open(now);
    cache.store("http://h/a", &get(), &answer("max-age=60"), &[b'x'; 5000], now);
    cache.store("http://h/b", &get(), &answer("max-age=60"), &[b'x'; 50], now);
    place.save(&cache, now).unwrap();
    let (cache, _, loaded) = Place::open(folder.file(), MIB, 1000, now).unwrap();
    assert_eq!((loaded, cache.objects()), (Loaded::Responses(1), 1));
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let folder = Folder::new();
    let path = folder.0.path().join("missing").join("cache");
    assert!(Place::open(path, MIB, MIB, Now::read()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_saved_takes_the_room_that_it_took(bodies in proptest::collection::vec((0_usize..40, 0_usize..9000), 0..40)) {
        let (folder, now) = (Folder::new(), Now::read());
        let (cache, place, _) = folder.open(now);
        for (number, length) in bodies {
            if let Lookup::Lead(lead) = cache.ask(&format!("http://h/{number}"), &get(), now) {
                let mut filler = fill(lead, &get(), &tagged("t"), now);
                filler.push(Bytes::from(vec![number as u8; length]));
                filler.finish();
            }
        }
        let (objects, bytes) = (cache.objects(), cache.bytes());
        let (cache, _, loaded) = folder.again(&cache, &place, now, seconds(1));
        prop_assert_eq!(loaded, Loaded::Responses(objects));
        prop_assert_eq!((cache.objects(), cache.bytes()), (objects, bytes));
    }

    #[test]
    fn no_damage_makes_it_fail_or_serve_what_was_not_stored(at in 0_usize..9000, flip in 1_u8..255, cut in 0_usize..9000) {
        let (folder, now) = (Folder::new(), Now::read());
        let (cache, place, _) = folder.open(now);
        for number in 0..20 {
            cache.store(&format!("http://h/{number}"), &get(), &tagged("t"), &[number as u8; 100], now);
        }
        place.save(&cache, now).unwrap();
        let mut bytes = fs::read(folder.file()).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        bytes.truncate(bytes.len().saturating_sub(cut / 4));
        fs::write(folder.file(), bytes).unwrap();
        let (cache, _, _) = folder.open(now);
        for number in 0..20_u8 {
            if let Some(hit) = cache.hit(&format!("http://h/{number}"), &get(), now) {
                prop_assert_eq!(body(&hit), vec![number; 100]);
            }
        }
    }
}

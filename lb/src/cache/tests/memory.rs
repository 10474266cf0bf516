//! The bound holds, and what is popular stays.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use proptest::prelude::*;

use super::super::testing::{Steps, answer, fill, get};
use super::super::{Answered, Cache, Filler, Lookup, Now, Purge, Refusal, Rules};

const MIB: u64 = 1 << 20;

fn uri(number: usize) -> String {
    format!("http://h/{number}")
}

fn store(cache: &Arc<Cache>, number: usize, length: usize, now: Now) {
    cache.store(&uri(number), &get(), &answer("max-age=60"), &vec![0; length], now);
}

#[test]
fn ten_times_the_bound_never_passes_it_with_much_of_it_in_flight() {
    let (bound, now) = (8 * MIB, Now::read());
    let cache = Cache::new(bound, MIB);
    let done = AtomicBool::new(false);
    let highest = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut highest = 0;
            while !done.load(Ordering::Relaxed) {
                highest = cache.bytes().max(highest);
            }
            highest
        });
        let writers: Vec<_> = (0..4)
            .map(|thread| {
                let cache = &cache;
                scope.spawn(move || {
                    let mut written = 0;
                    let mut open: Vec<Filler> = Vec::new();
                    for number in 0.. {
                        let request = get();
                        let lead = cache.lead(&uri(number * 4 + thread), &request, now);
                        let Answered::Store(mut filler) = lead.answer(&request, &answer("max-age=60"), &Rules::default(), now.mono, now)
                        else {
                            continue;
                        };
                        let size = [500, 20_000, 70_000, 400_000][number % 4];
                        for _ in 0..4 {
                            filler.push(Bytes::from(vec![0; size / 4]));
                        }
                        written += size as u64;
                        open.push(filler);
                        // The last few are always in flight.
                        if open.len() > 4 {
                            open.remove(0).finish();
                        }
                        if written > 10 * bound / 4 {
                            return;
                        }
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    });
    assert!(highest <= bound, "{highest}");
    assert!(highest > bound * 9 / 10, "and it is used: {highest}");
    cache.purge(&Purge::All);
    assert_eq!((cache.bytes(), cache.objects()), (0, 0));
}

#[test]
fn what_arrives_takes_half_at_most_and_sweeps_out_no_more() {
    let now = Now::read();
    let cache = Cache::new(4 * MIB, MIB);
    (0..700).for_each(|number| store(&cache, number, 1500, now));
    let stored = cache.objects();
    let mut fillers: Vec<_> = (0..100)
        .map(|number| {
            (
                0..1,
                fill(cache.lead(&uri(5000 + number), &get(), now), &get(), &answer("max-age=60"), now),
            )
        })
        .collect();
    for _ in 0..16 {
        fillers.iter_mut().for_each(|(_, filler)| filler.push(Bytes::from(vec![0; 60_000])));
    }
    assert!(cache.bytes() <= 4 * MIB);
    assert!(cache.objects() == stored, "{} of {stored}", cache.objects());
    // Some found no room and are not stored; those that did are.
    let stores = fillers.iter().filter(|(_, filler)| filler.stores()).count();
    assert!((1..=3).contains(&stores), "{stores}");
    fillers.into_iter().for_each(|(_, filler)| filler.finish());
    let found = (0..100)
        .filter(|number| cache.hit(&uri(5000 + number), &get(), now).is_some())
        .count();
    assert_eq!(found, stores);
}

#[test]
fn an_answer_without_room_for_its_head_goes_to_its_client_only() {
    let now = Now::read();
    let cache = Cache::new(400, MIB);
    let lead = cache.lead("http://h/", &get(), now);
    assert_eq!(
        super::super::testing::pass(lead, &get(), &answer("max-age=60"), now),
        Refusal::NoRoom
    );
    assert_eq!(cache.bytes(), 0);
    assert!(
        matches!(cache.ask("http://h/", &get(), now), Lookup::Lead(_)),
        "that is no reason for a mark"
    );
}

#[tokio::test]
async fn a_reader_behind_is_cut_off_when_there_is_no_room_and_one_in_step_is_not() {
    let now = Now::read();
    let cache = Cache::new(MIB, 8 * MIB);
    let lead = cache.lead("http://h/", &get(), now);
    let [Lookup::Wait(fast), Lookup::Wait(slow)] = [(); 2].map(|()| cache.ask("http://h/", &get(), now)) else {
        panic!()
    };
    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
    let (super::super::Joined::Stream(mut fast), super::super::Joined::Stream(mut slow)) =
        (fast.wait(&get()).await, slow.wait(&get()).await)
    else {
        panic!()
    };
    for number in 0..100 {
        filler.push(Bytes::from(vec![number; 50_000]));
        assert_eq!(fast.next().await.unwrap().unwrap()[..], vec![number; 50_000]);
        assert!(cache.bytes() <= MIB);
    }
    filler.finish();
    assert_eq!(fast.next().await, Ok(None));
    assert!(slow.next().await.is_err());
}

#[tokio::test]
async fn a_reader_behind_is_waited_for_when_there_is_no_room() {
    let now = Now::read();
    let cache = Cache::new(MIB, 8 * MIB);
    let lead = cache.lead("http://h/", &get(), now);
    let Lookup::Wait(slow) = cache.ask("http://h/", &get(), now) else {
        panic!()
    };
    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
    let super::super::Joined::Stream(mut slow) = slow.wait(&get()).await else {
        panic!()
    };
    // Its client reads half as fast as the origin sends, until there is no more room; then the origin waits.
    let mut got = 0;
    for number in 0..200 {
        while poll_fn(|cx| filler.poll_readers(cx)).now_or_never().is_none() {
            assert!(!filler.stores());
            got += slow.next().await.unwrap().unwrap().len();
        }
        filler.push(Bytes::from(vec![number; 10_000]));
        if number % 2 == 0 {
            got += slow.next().await.unwrap().unwrap().len();
        }
        assert!(cache.bytes() <= MIB);
    }
    filler.finish();
    while let Some(bytes) = slow.next().await.unwrap() {
        got += bytes.len();
    }
    assert_eq!(got, 2_000_000);
}

#[test]
fn a_hot_set_survives_a_scan() {
    let now = Now::read();
    for bound in [2 * MIB, 64 * MIB] {
        let cache = Cache::new(bound, MIB);
        let fits = (bound / 3000) as usize;
        let hot = fits / 2;
        for _ in 0..3 {
            for number in 0..hot {
                if cache.hit(&uri(number), &get(), now).is_none() {
                    store(&cache, number, 2000, now);
                }
            }
        }
        (0..fits * 5).for_each(|number| store(&cache, 1_000_000 + number, 2000, now));
        let left = (0..hot).filter(|&number| cache.hit(&uri(number), &get(), now).is_some()).count();
        assert!(left * 100 >= hot * 95, "{left} of {hot} with {bound}");
        assert!(cache.bytes() <= bound);
    }
}

#[test]
fn what_comes_back_soon_after_it_was_evicted_stays() {
    let now = Now::read();
    let cache = Cache::new(2 * MIB, MIB);
    let scan = |from: usize| {
        (from..from + 1000).for_each(|number| store(&cache, number, 2000, now));
        cache.hit(&uri(0), &get(), now).is_some()
    };
    store(&cache, 0, 2000, now);
    assert!(!scan(10_000));
    store(&cache, 0, 2000, now);
    assert!(scan(20_000));
}

#[test]
fn a_smaller_bound_evicts_at_once() {
    let now = Now::read();
    let cache = Cache::new(16 * MIB, MIB);
    (0..4000).for_each(|number| store(&cache, number, 2000, now));
    let before = cache.bytes();
    cache.set_bounds(4 * MIB, 1000);
    assert!(before > 8 * MIB && cache.bytes() <= 4 * MIB && cache.objects() > 1000);
    let lead = cache.lead("http://h/new", &get(), now);
    let long = answer("max-age=60").with("content-length", "1001");
    assert_eq!(super::super::testing::pass(lead, &get(), &long, now), Refusal::TooLarge);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A model: whatever is done, bytes and objects are those of what a look-up finds.
    #[test]
    fn the_books_are_right_whatever_is_done(steps in proptest::collection::vec((0_usize..6, 0_usize..40, 0_usize..60_000), 1..120)) {
        let now = Now::read();
        let cache = Cache::new(MIB, 100_000);
        let mut open = Vec::new();
        for (step, number, length) in steps {
            match step {
                0..3 => {
                    let tag = format!("t{}", number % 4);
                    let request = get().with("x-v", &(length % 3).to_string());
                    let answer = answer("max-age=60").with("cache-tag", &tag).with("vary", "x-v");
                    if let Lookup::Lead(lead) = cache.ask(&uri(number), &request, now)
                        && let Answered::Store(mut filler) = lead.answer(&request, &answer, &Rules::default(), now.mono, now)
                    {
                        filler.push(Bytes::from(vec![0; length]));
                        filler.push(Bytes::from(vec![0; length / 7]));
                        open.push(filler);
                    }
                }
                3 => open.drain(..).for_each(Filler::finish),
                4 => open.clear(),
                _ => {
                    let tag = format!("t{}", number % 4);
                    cache.purge(&Purge::Tags { upstream: None, tags: &[tag.as_bytes()] });
                }
            }
            prop_assert!(cache.bytes() <= MIB);
        }
        open.clear();
        let mut found = 0;
        for number in 0..40 {
            for variant in 0..3 {
                let request = get().with("x-v", &variant.to_string());
                found += u64::from(cache.hit(&uri(number), &request, now).is_some());
            }
        }
        prop_assert_eq!(found, cache.objects());
        let objects = cache.objects();
        prop_assert_eq!(cache.purge(&Purge::All), objects);
        prop_assert_eq!(cache.bytes(), 0);
    }
}

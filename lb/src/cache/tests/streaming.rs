//! Reading along while a body arrives.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;

use super::super::testing::{Steps, answer, fill, get, pass};
use super::super::{Broken, Filler, Joined, Lookup, Now, Refusal};
use super::{URI, assert_idle, cache, follow, read, reader, told};

#[tokio::test]
async fn readers_get_the_first_byte_before_the_last_has_come() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let follower = follow(&cache, now);
    let mut filler = fill(lead, &get(), &answer("max-age=60").with("content-length", "10000"), now);
    let mut early = reader(follower);
    assert_eq!(early.object().content_length(), Some(10000));
    assert!(early.next().now_or_never().is_none());
    filler.push(Bytes::from(vec![1; 5000]));
    assert_eq!(early.next().await.unwrap().unwrap().len(), 5000);
    let Lookup::Stream(late) = cache.ask(URI, &get(), now) else {
        panic!()
    };
    let late = tokio::spawn(read(late));
    tokio::task::yield_now().await;
    filler.push(Bytes::from(vec![2; 5000]));
    filler.finish();
    assert_eq!(early.next().await, Ok(Some(Bytes::from(vec![2; 5000]))));
    assert_eq!(early.next().await, Ok(None));
    assert_eq!(late.await.unwrap().unwrap(), [[1; 5000], [2; 5000]].concat());
    assert_idle(&cache);
}

#[tokio::test]
async fn large_chunks_reach_readers_and_the_store_without_a_copy() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let follower = follow(&cache, now);
    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
    let mut reader = reader(follower);
    let chunk = Bytes::from(vec![1; 100_000]);
    filler.push(chunk.clone());
    assert_eq!(reader.next().await.unwrap().unwrap().as_ptr(), chunk.as_ptr());
    filler.finish();
    assert_eq!(cache.hit(URI, &get(), now).unwrap().body()[0].as_ptr(), chunk.as_ptr());
}

#[tokio::test]
async fn a_body_that_is_cut_off_cuts_its_readers_off() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let followers = [follow(&cache, now), follow(&cache, now)];
    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
    filler.push(Bytes::from(vec![1; 5000]));
    let [mut one, other] = followers.map(reader);
    one.next().await.unwrap();
    let waiting = tokio::spawn(async move { one.next().await });
    tokio::task::yield_now().await;
    drop(filler);
    assert_eq!(waiting.await.unwrap(), Err(Broken));
    assert_eq!(read(other).await, Err(Broken));
    assert_idle(&cache);
}

#[test]
fn a_body_announced_as_too_long_is_for_one_client() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let follower = follow(&cache, now);
    let long = answer("max-age=60").with("content-length", "1048577");
    assert_eq!(pass(lead, &get(), &long, now), Refusal::TooLarge);
    assert!(matches!(told(follower), Some(Joined::Alone(_))));
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_reaches_its_readers_and_not_the_store() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let followers = [follow(&cache, now), follow(&cache, now)];
    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
    let [mut fast, slow] = followers.map(reader);
    let mut got = 0;
    for number in 0..100 {
        filler.push(Bytes::from(vec![number; 50_000]));
        got += fast.next().await.unwrap().unwrap().len();
        assert!(
            cache.bytes() < (2 << 20) + 200_000,
            "only what the slow one may still want is kept: {}",
            cache.bytes()
        );
    }
    assert!(!filler.stores() && filler.is_needed());
    let Lookup::Alone(lead) = cache.ask(URI, &get(), now) else {
        panic!("nobody joins it any more, nor waits for the next")
    };
    assert_eq!(pass(lead, &get(), &answer("max-age=60"), now), Refusal::TooLarge);
    assert!(matches!(cache.ask(URI, &get(), now), Lookup::Alone(_)), "that one may be as long");
    let Lookup::Alone(lead) = cache.ask(URI, &get(), now) else {
        panic!()
    };
    drop(fill(lead, &get(), &answer("max-age=60").with("content-length", "4"), now));
    filler.finish();
    assert_eq!(fast.next().await, Ok(None));
    assert_eq!(got, 5_000_000);
    assert_eq!(read(slow).await, Err(Broken), "too far behind");
    drop(fast);
    assert_eq!((cache.objects(), cache.bytes()), (0, 0));
    assert_idle(&cache);
}

#[tokio::test]
async fn the_fetch_of_what_is_not_stored_waits_for_who_is_far_behind() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let follower = follow(&cache, now);
    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
    let mut behind = reader(follower);
    let push = |filler: &mut Filler| filler.push(Bytes::from(vec![7; 50_000]));
    let waits = |filler: &Filler| poll_fn(|cx| filler.poll_readers(cx)).now_or_never().is_none();
    for _ in 0..20 {
        push(&mut filler);
        assert!(filler.stores() && !waits(&filler), "what is stored comes at the origin's pace");
    }
    push(&mut filler);
    assert!(!filler.stores() && waits(&filler));
    // It is woken by the reader.
    let reading = async { behind.next().await.unwrap().unwrap().len() };
    let (_, mut got) = tokio::join!(poll_fn(|cx| filler.poll_readers(cx)), reading);
    for _ in 0..50 {
        push(&mut filler);
        while waits(&filler) {
            got += behind.next().await.unwrap().unwrap().len();
        }
    }
    push(&mut filler);
    assert!(waits(&filler));
    filler.finish();
    assert_eq!(got + read(behind).await.unwrap().len(), 72 * 50_000);
    assert_idle(&cache);
}

#[tokio::test]
async fn nobody_is_waited_for_who_is_gone() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let follower = follow(&cache, now);
    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
    let behind = reader(follower);
    (0..30).for_each(|_| filler.push(Bytes::from(vec![7; 50_000])));
    let leaving = async { drop(behind) };
    let both = async { tokio::join!(poll_fn(|cx| filler.poll_readers(cx)), leaving) };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("it is woken");
}

#[tokio::test]
async fn nobody_is_waited_for_who_is_lost_already() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let followers = [follow(&cache, now), follow(&cache, now)];
    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
    let [mut near, lost] = followers.map(reader);
    let waits = |filler: &Filler| poll_fn(|cx| filler.poll_readers(cx)).now_or_never().is_none();
    for _ in 0..41 {
        filler.push(Bytes::from(vec![7; 50_000]));
        assert_eq!(near.next().await.unwrap().unwrap().len(), 50_000);
    }
    assert!(waits(&filler), "it is behind by less than two windows");
    filler.push(Bytes::from(vec![7; 50_000]));
    filler.push(Bytes::from(vec![7; 50_000]));
    assert!(!waits(&filler), "it is behind by more");
    assert_eq!(near.next().await.unwrap().unwrap().len(), 50_000);
    assert_eq!(read(lost).await, Err(Broken));
}

#[tokio::test]
async fn a_reader_within_the_window_gets_a_long_body_whole() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let follower = follow(&cache, now);
    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
    let mut behind = reader(follower);
    let mut got = 0;
    for number in 0..100 {
        filler.push(Bytes::from(vec![number; 50_000]));
        if number >= 15 {
            let chunk = behind.next().await.unwrap().unwrap();
            assert_eq!((chunk[0], chunk.len()), (number - 15, 50_000));
            got += chunk.len();
        }
    }
    filler.finish();
    assert_eq!(got + read(behind).await.unwrap().len(), 5_000_000);
    assert_eq!(cache.bytes(), 0);
}

#[tokio::test]
async fn a_body_longer_than_announced_cuts_its_readers_off_before_they_see_too_much() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let follower = follow(&cache, now);
    let mut filler = fill(lead, &get(), &answer("max-age=60").with("content-length", "4"), now);
    filler.push(Bytes::from_static(b"four"));
    let mut reader = reader(follower);
    assert_eq!(reader.next().await, Ok(Some(Bytes::from_static(b"four"))));
    filler.push(Bytes::from_static(b"more"));
    assert_eq!(reader.next().await, Err(Broken));
    filler.finish();
    assert_eq!((cache.objects(), cache.bytes()), (0, 0));
}

//! One request to the origin for however many clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::task::JoinSet;

use super::super::testing::{Steps, answer, fill, get, pass, second};
use super::super::{Answered, Broken, Joined, Lookup, Now, Refusal, Rules};
use super::{URI, assert_idle, cache, follow, read, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stampede_is_one_request_and_everybody_gets_the_whole_answer() {
    let (cache, now) = (cache(), Now::read());
    let leads = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..1000 {
        let (cache, leads) = (Arc::clone(&cache), Arc::clone(&leads));
        clients.spawn(async move {
            match cache.ask(URI, &get(), now) {
                Lookup::Lead(lead) => {
                    leads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
                    for _ in 0..20 {
                        filler.push(Bytes::from(vec![7; 5000]));
                        tokio::task::yield_now().await;
                    }
                    filler.finish();
                    100_000
                }
                Lookup::Wait(follower) => match follower.wait(&get()).await {
                    Joined::Stream(reader) => read(reader).await.unwrap().len(),
                    Joined::Hit(hit) => hit.body().concat().len(),
                    other => panic!("{other:?}"),
                },
                Lookup::Stream(reader) => read(reader).await.unwrap().len(),
                Lookup::Hit(hit, _) => hit.body().concat().len(),
                other => panic!("{other:?}"),
            }
        });
    }
    while let Some(length) = clients.join_next().await {
        assert_eq!(length.unwrap(), 100_000);
    }
    assert_eq!(leads.load(Ordering::Relaxed), 1);
    assert_eq!(cache.objects(), 1);
    assert_idle(&cache);
}

#[test]
fn threads_that_ask_at_once_get_one_lead() {
    for _ in 0..20 {
        let (cache, now) = (cache(), Now::read());
        let start = std::sync::Barrier::new(16);
        let ask = || {
            start.wait();
            (0..64).map(|_| cache.ask(URI, &get(), now)).collect::<Vec<_>>()
        };
        let all: Vec<Lookup> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(all.iter().filter(|lookup| matches!(lookup, Lookup::Lead(_))).count(), 1);
        assert_eq!(all.iter().filter(|lookup| matches!(lookup, Lookup::Wait(_))).count(), 1023);
        drop(all);
        assert_idle(&cache);
    }
}

#[test]
fn a_leader_that_is_gone_is_followed_by_the_one_who_waited_longest_and_no_other() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let (gone, first, second) = (follow(&cache, now), follow(&cache, now), follow(&cache, now));
    drop(gone);
    drop(lead);
    let Some(Joined::Lead(lead)) = told(first) else { panic!() };
    assert!(lead.waited());
    let request = get();
    let waiting = second.wait(&request);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none(), "the others keep waiting");
    assert!(matches!(cache.ask(URI, &get(), now), Lookup::Wait(_)), "and new ones join them");
    let mut filler = fill(lead, &get(), &answer("max-age=60"), now);
    filler.push(Bytes::from_static(b"x"));
    filler.finish();
    assert!(matches!(waiting.now_or_never(), Some(Joined::Hit(_))));
    assert_idle(&cache);
}

#[test]
fn a_lead_that_its_follower_does_not_take_goes_to_the_next() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let (first, second) = (follow(&cache, now), follow(&cache, now));
    drop(lead);
    // The first has been told and goes without listening.
    drop(first);
    let Some(Joined::Lead(lead)) = told(second) else { panic!() };
    drop(lead);
    assert_idle(&cache);
    assert!(matches!(cache.ask(URI, &get(), now), Lookup::Lead(_)));
}

#[test]
fn an_answer_for_one_client_sends_everybody_to_the_origin_at_once() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let followers: Vec<_> = (0..100).map(|_| follow(&cache, now)).collect();
    assert_eq!(pass(lead, &get(), &answer("no-store"), now), Refusal::NoStore);
    let alone: Vec<_> = followers.into_iter().map(|follower| told(follower).unwrap()).collect();
    assert!(alone.iter().all(|joined| matches!(joined, Joined::Alone(_))));
    assert!(
        matches!(cache.ask(URI, &get(), now), Lookup::Alone(_)),
        "and the next ones do not wait"
    );
    drop(alone);
    assert_idle(&cache);
}

#[test]
fn a_fetch_that_failed_does_not_make_the_others_fail_one_after_the_other() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let followers = [follow(&cache, now), follow(&cache, now)];
    lead.failed(now);
    assert!(
        followers
            .into_iter()
            .all(|follower| matches!(told(follower), Some(Joined::Alone(_))))
    );
    assert!(matches!(cache.ask(URI, &get(), now + second() * 2), Lookup::Lead(_)));
}

#[test]
fn followers_who_go_leave_no_trace() {
    let (cache, now) = (cache(), Now::read());
    let lead = cache.lead(URI, &get(), now);
    let kept = follow(&cache, now);
    (0..1000).for_each(|_| drop(follow(&cache, now)));
    let waiting: usize = cache
        .shards
        .iter()
        .map(|shard| {
            super::super::lock(shard)
                .flights
                .values()
                .flatten()
                .map(|flight| flight.lock().waiting.len())
                .sum::<usize>()
        })
        .sum();
    assert_eq!(waiting, 1);
    drop(lead);
    assert!(matches!(told(kept), Some(Joined::Lead(_))));
}

#[test]
fn who_asks_for_another_variant_looks_again_and_then_waits_for_its_own() {
    let (cache, now) = (cache(), Now::read());
    let (german, english) = (get().with("accept-language", "de"), get().with("accept-language", "en"));
    let varying = answer("max-age=60").with("vary", "accept-language");
    let lead = cache.lead(URI, &german, now);
    let Lookup::Wait(same) = cache.ask(URI, &german, now) else {
        panic!()
    };
    let Lookup::Wait(other) = cache.ask(URI, &english, now) else {
        panic!()
    };
    let filler = fill(lead, &german, &varying, now);
    assert!(matches!(same.wait(&german).now_or_never(), Some(Joined::Stream(_))));
    assert!(matches!(other.wait(&english).now_or_never(), Some(Joined::Again)));
    // What it depends on is known now, so that each variant has a fetch of its own.
    let Lookup::Lead(lead) = cache.ask(URI, &english, now) else {
        panic!()
    };
    assert!(matches!(cache.ask(URI, &english, now), Lookup::Wait(_)));
    assert!(matches!(cache.ask(URI, &german, now), Lookup::Stream(_)));
    assert!(matches!(cache.ask(URI, &get(), now), Lookup::Lead(_)));
    filler.finish();
    fill(lead, &english, &varying, now).finish();
    assert_eq!(cache.objects(), 2);
    assert_idle(&cache);
}

#[test]
fn requests_with_authorization_wait_apart() {
    let (cache, now) = (cache(), Now::read());
    let known = get().with("authorization", "Bearer x");
    let lead = cache.lead(URI, &get(), now);
    let Lookup::Lead(own) = cache.ask(URI, &known, now) else { panic!() };
    assert_eq!(pass(own, &known, &answer("max-age=60"), now), Refusal::Authorization);
    assert!(matches!(cache.ask(URI, &known, now), Lookup::Alone(_)));
    let follower = follow(&cache, now);
    fill(lead, &get(), &answer("max-age=60"), now).finish();
    assert!(matches!(told(follower), Some(Joined::Hit(_))));
    assert!(
        matches!(cache.ask(URI, &known, now), Lookup::Hit(..)),
        "what is stored for everybody is for them too"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_come_and_go_never_leave_one_waiting_for_nobody() {
    let (cache, now) = (cache(), Now::read());
    let leading = Arc::new(AtomicUsize::new(0));
    for round in 0..30_u64 {
        let uri: &'static str = "http://h/again";
        let mut clients = JoinSet::new();
        for client in 0..100_u64 {
            let (cache, leading) = (Arc::clone(&cache), Arc::clone(&leading));
            let patience = Duration::from_micros((client * 7919 + round * 104_729) % 3000);
            // Two of three hang up at some moment, leading or following; the third stays to the end.
            let stays = client % 3 == 0;
            clients.spawn(async move {
                let client = async {
                    loop {
                        let lead = match cache.ask(uri, &get(), now) {
                            Lookup::Lead(lead) => lead,
                            Lookup::Wait(follower) => match follower.wait(&get()).await {
                                Joined::Lead(lead) => lead,
                                Joined::Again => continue,
                                Joined::Hit(_) => return,
                                Joined::Stream(reader) => match read(reader).await {
                                    Ok(_) => return,
                                    Err(Broken) => continue,
                                },
                                Joined::Alone(lead) => lead,
                            },
                            Lookup::Stream(reader) => match read(reader).await {
                                Ok(_) => return,
                                Err(Broken) => continue,
                            },
                            Lookup::Hit(..) => return,
                            other => panic!("{other:?}"),
                        };
                        assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "one leads at a time");
                        let guard = Guard(&leading);
                        tokio::time::sleep(Duration::from_micros(300)).await;
                        drop(guard);
                        let answered = lead.answer(&get(), &answer("max-age=60"), &Rules::default(), now.mono, now);
                        let Answered::Store(mut filler) = answered else {
                            panic!("{answered:?}")
                        };
                        filler.push(Bytes::from_static(b"x"));
                        tokio::time::sleep(Duration::from_micros(100)).await;
                        filler.finish();
                        return;
                    }
                };
                if stays {
                    client.await;
                } else {
                    let _ = tokio::time::timeout(patience, client).await;
                }
            });
        }
        let all = tokio::time::timeout(Duration::from_secs(20), async {
            while clients.join_next().await.is_some_and(|client| client.is_ok()) {}
        });
        assert!(all.await.is_ok(), "somebody waits for nobody");
        assert!(clients.is_empty(), "a client failed");
        assert!(cache.hit(uri, &get(), now).is_some());
        assert_idle(&cache);
    }
}

struct Guard<'a>(&'a AtomicUsize);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn below_min_uses_those_who_waited_share_an_answer_that_is_not_kept() {
    let (cache, now) = (cache(), Now::read());
    let rules = Rules {
        min_uses: 3,
        ..Rules::default()
    };
    for (uses, kept) in [(2, false), (3, true)] {
        let lead = cache.lead(URI, &get(), now);
        // The second round's leader is the third to ask.
        let waits = (uses == 2).then(|| match cache.ask(URI, &get(), now) {
            Lookup::Wait(follower) => follower,
            other => panic!("{other:?}"),
        });
        let Answered::Store(mut filler) = lead.answer(&get(), &answer("max-age=60"), &rules, now.mono, now) else {
            panic!("nobody gets it")
        };
        assert_eq!(filler.stores(), kept);
        filler.push(Bytes::from_static(b"body"));
        filler.finish();
        if let Some(follower) = waits {
            let Joined::Stream(reader) = follower.wait(&get()).await else {
                panic!()
            };
            assert_eq!(read(reader).await.unwrap(), b"body");
        }
        assert_eq!(cache.objects(), u64::from(kept));
    }
    assert_idle(&cache);
}

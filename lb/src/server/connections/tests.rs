//! Who gets a place, who leaves, and who is counted.

use std::thread;

use futures::future::join_all;

use super::*;

/// A connection that leaves when it is asked to.
async fn until_asked(slot: Slot) {
    slot.asked_to_leave().await;
}

#[tokio::test]
async fn the_connection_that_waited_longest_makes_room() {
    let table = Connections::new(2, 1);
    let first = table.place(0).await;
    let second = table.place(0).await;
    first.idle();
    tokio::time::sleep(Duration::from_millis(5)).await;
    second.idle();
    let (third, ()) = tokio::join!(table.place(0), until_asked(first));
    assert_eq!(table.open(), 2);
    drop((second, third));
    assert_eq!(table.open(), 0);
}

#[tokio::test]
async fn it_may_be_another_workers() {
    let table = Connections::new(1, 2);
    let slot = table.place(1).await;
    slot.idle();
    tokio::join!(table.place(0), until_asked(slot));
}

#[tokio::test]
async fn where_nobody_is_idle_a_new_one_waits() {
    let table = Connections::new(1, 1);
    let first = table.place(0).await;
    assert!(timeout(Duration::from_millis(60), table.place(0)).await.is_err());
    drop(first);
    table.place(0).await;
}

#[tokio::test]
async fn one_that_goes_idle_later_makes_room() {
    let table = Connections::new(1, 1);
    let slot = table.place(0).await;
    let later = async {
        tokio::task::yield_now().await;
        slot.idle();
        until_asked(slot).await;
    };
    tokio::join!(table.place(0), later);
}

#[tokio::test]
async fn one_that_gets_a_request_instead_of_leaving_is_not_waited_for() {
    let table = Connections::new(2, 1);
    let (first, second) = (table.place(0).await, table.place(0).await);
    first.idle();
    tokio::time::sleep(Duration::from_millis(5)).await;
    second.idle();
    let takes_a_request = async {
        first.asked_to_leave().await;
        first.busy();
    };
    tokio::join!(table.place(0), takes_a_request, until_asked(second));
    // Its next wait is one that nobody has asked it to end.
    first.idle();
    assert!(timeout(Duration::from_millis(5), first.asked_to_leave()).await.is_err());
}

#[tokio::test]
async fn no_more_leave_than_are_waited_for() {
    let table = Connections::new(8, 2);
    let slots: Vec<Slot> = (0..8).filter_map(|worker| table.try_place(worker)).collect();
    slots.iter().for_each(Slot::idle);
    let asked = |slots: &[Slot]| slots.iter().filter(|slot| slot.place.entry().is_asked()).count();
    let waiting = async { timeout(LOOK_AGAIN * 3, table.place(0)).await.is_err() };
    let (first, second) = tokio::join!(waiting, async { timeout(LOOK_AGAIN * 3, table.place(1)).await.is_err() });
    assert!(first && second, "nobody left, as nobody listened");
    assert_eq!(asked(&slots), 2);
}

#[tokio::test]
async fn when_the_process_ends_all_that_wait_leave_and_all_that_begin_to() {
    let table = Connections::new(8, 2);
    let (waits, works) = (table.place(0).await, table.place(1).await);
    waits.idle();
    tokio::join!(until_asked(waits), async { table.stop() });
    works.idle();
    until_asked(works).await;
}

#[tokio::test]
async fn places_are_reused() {
    let table = Connections::new(100, 1);
    for _ in 0..1000 {
        drop(table.place(0).await);
    }
    assert_eq!(table.shards[0].size(), 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_are_there_more_than_may_be() {
    let table = Connections::new(5, 4);
    let workers = (0..4).map(|worker| {
        let table = table.clone();
        tokio::spawn(async move {
            for round in 0..500 {
                let slot = table.place(worker).await;
                assert!(table.open() <= 5);
                if round % 3 == 0 {
                    slot.idle();
                }
                tokio::task::yield_now().await;
            }
        })
    });
    for worker in join_all(workers.collect::<Vec<_>>()).await {
        worker.unwrap();
    }
    assert_eq!(table.open(), 0);
}

#[test]
fn connections_are_counted_by_address_across_workers() {
    let table = Connections::new(100, 2);
    table.count_by_address(true);
    let belongs = |worker, address: &str| {
        let slot = table.try_place(worker).unwrap();
        let count = slot.belongs_to(address.parse().unwrap());
        (slot, count)
    };
    let (a, first) = belongs(0, "192.0.2.1");
    let (b, second) = belongs(1, "::ffff:192.0.2.1");
    let (c, other) = belongs(0, "2001:db8::1");
    assert_eq!((first, second, other), (Some(1), Some(2), Some(1)));
    drop((a, c));
    let (_d, third) = belongs(0, "192.0.2.1");
    assert_eq!(third, Some(2));
    drop(b);
    assert_eq!(table.peers.addresses(), 1, "an address without connections takes no memory");
}

#[test]
fn those_that_came_before_the_limit_are_counted_once() {
    let table = Connections::new(100, 2);
    let address = IpAddr::from([192, 0, 2, 1]);
    let slots: Vec<Slot> = (0..4).filter_map(|worker| table.try_place(worker)).collect();
    assert!(slots.iter().all(|slot| slot.belongs_to(address).is_none()));
    let nobody = table.try_place(0);
    for on in [true, true, false, true] {
        table.count_by_address(on);
    }
    let next = table.try_place(0).unwrap();
    assert_eq!(next.belongs_to(address), Some(5));
    table.count_by_address(false);
    drop((slots, next, nobody));
    assert_eq!(table.peers.addresses(), 0);
}

#[test]
fn the_count_is_exact_while_it_is_switched_and_connections_come_and_go() {
    let table = Connections::new(1000, 4);
    let address = IpAddr::from([192, 0, 2, 1]);
    let kept: Vec<Slot> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let table = &table;
                scope.spawn(move || {
                    let come = |_| {
                        let slot = table.try_place(worker).unwrap();
                        slot.belongs_to(address);
                        slot
                    };
                    (0..2000)
                        .map(come)
                        .enumerate()
                        .filter(|(number, _)| number % 100 == 0)
                        .map(|(_, slot)| slot)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for round in 0..200 {
            table.count_by_address(round % 2 == 0);
        }
        table.count_by_address(true);
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(kept.len(), 80);
    let next = table.try_place(0).unwrap();
    assert_eq!(next.belongs_to(address), Some(81));
    drop((kept, next));
    assert_eq!(table.peers.addresses(), 0);
}

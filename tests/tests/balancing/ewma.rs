//! `balance = "ewma"`: latency decides.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};

use super::{app, counts, one_at_a_time, quick};

/// Long enough to be told from any other on a busy machine.
const SLOW: Duration = Duration::from_millis(400);

async fn one_slow() -> Vec<Origin> {
    let mut origins = quick(2).await;
    origins.push(Origin::start(|_| Reply::text("slow").after(SLOW)).await);
    origins
}

#[tokio::test]
async fn a_slow_server_gets_next_to_nothing() {
    let origins = one_slow().await;
    let lb = Lb::start(&app(&origins, "balance = \"ewma\"")).await;
    one_at_a_time(&lb, 200).await;
    let counts = counts(&origins);
    // 4 % is what "next to nothing" means here; two or three is what is usual.
    assert!(counts[2] >= 1, "nobody can know before the first answer: {counts:?}");
    assert!(counts[2] <= 8, "{counts:?}");
}

#[tokio::test]
async fn what_was_learnt_survives_a_reload() {
    let origins = one_slow().await;
    let mut lb = Lb::start(&app(&origins, "balance = \"ewma\"")).await;
    one_at_a_time(&lb, 40).await;
    let before = counts(&origins)[2];
    assert!(before >= 1, "{before}");
    for reload in 0..5 {
        lb.reload(&app(&origins, &format!("balance = \"ewma\"\n# reload {reload}"))).await;
        one_at_a_time(&lb, 4).await;
    }
    let after = counts(&origins)[2];
    assert!(after - before <= 2, "{} requests to the slow one after reloads", after - before);
}

#[tokio::test]
async fn a_server_that_fails_at_once_is_no_magnet() {
    let mut origins = quick(2).await;
    origins.push(Origin::start(|_| Reply::new(503)).await);
    let lb = Lb::start(&app(&origins, "balance = \"ewma\"\npassive_health = \"off\"")).await;
    one_at_a_time(&lb, 200).await;
    let counts = counts(&origins);
    assert!(counts[2] <= 10, "{counts:?}");
}

#[tokio::test]
async fn a_slow_upload_is_not_its_servers_fault() {
    // So slow that a busy machine's hiccups are small beside it, and much faster than the upload.
    let mut origins = Vec::new();
    for _ in 0..2 {
        origins.push(Origin::start(|_| Reply::text("ok").after(Duration::from_millis(100))).await);
    }
    let lb = Lb::start(&app(&origins, "balance = \"ewma\"")).await;
    let request = Request::post("/", vec![b'x'; 2000]).bytes();
    let (first, second) = request.split_at(request.len() - 1000);
    let mut connection = lb.connect().await;
    connection.write(first).await;
    tokio::time::sleep(4 * SLOW).await;
    connection.write(second).await;
    assert_eq!(connection.response("POST").await.unwrap().status, 200);
    one_at_a_time(&lb, 60).await;
    let counts = counts(&origins);
    // one that is blamed gets the upload and nothing else; one that a hiccup has made look slow, some
    assert!(counts[0] > 2 && counts[1] > 2, "{counts:?}");
}

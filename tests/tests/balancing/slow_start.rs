//! `slow_start`: a server that comes back is given time.

use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::wait::until;

use super::{app, counts, one_at_a_time, quick};

/// Takes the first server out and brings it back, in sight of requests.
async fn away_and_back(lb: &Lb, origins: &[Origin]) {
    one_at_a_time(lb, 6).await;
    lb.set_state("app", origins[0].addr(), "drain").await;
    one_at_a_time(lb, 6).await;
    lb.set_state("app", origins[0].addr(), "ready").await;
}

/// How many of so many requests each gets.
async fn shares(lb: &Lb, origins: &[Origin], requests: usize) -> Vec<usize> {
    let before = counts(origins);
    one_at_a_time(lb, requests).await;
    counts(origins).iter().zip(before).map(|(after, before)| after - before).collect()
}

#[tokio::test]
async fn a_server_that_comes_back_gets_little_at_first_and_its_share_in_the_end() {
    for balance in ["least_conn", "round_robin", "p2c"] {
        let origins = quick(3).await;
        let lasting = |time: &str| app(&origins, &format!("balance = \"{balance}\"\nslow_start = \"{time}\""));
        let mut lb = Lb::start(&lasting("1h")).await;
        let at_the_start = shares(&lb, &origins, 60).await;
        assert!(at_the_start.iter().all(|count| *count > 8), "{balance}: {at_the_start:?}");
        away_and_back(&lb, &origins).await;
        let back = shares(&lb, &origins, 60).await;
        assert!(back[0] <= 8 && back[1] > 12 && back[2] > 12, "{balance}: {back:?}");
        // Since when it is back outlives a reload; how long that counts is what the new file says.
        lb.reload(&lasting("1ms")).await;
        let warm = shares(&lb, &origins, 60).await;
        assert!(warm.iter().all(|count| *count > 8), "{balance}: {warm:?}");
    }
}

#[tokio::test]
async fn a_share_becomes_whole_by_itself() {
    let origins = quick(3).await;
    let lb = Lb::start(&app(&origins, "slow_start = \"1500ms\"")).await;
    away_and_back(&lb, &origins).await;
    until("it has its share", async || shares(&lb, &origins, 30).await[0] >= 9).await;
}

#[tokio::test]
async fn a_server_that_a_reload_adds_to_others_gets_little_at_first() {
    let origins = quick(3).await;
    let mut lb = Lb::start(&app(&origins[1..], "slow_start = \"1h\"")).await;
    one_at_a_time(&lb, 6).await;
    lb.reload(&app(&origins, "slow_start = \"1h\"")).await;
    let shares = shares(&lb, &origins, 60).await;
    assert!(shares[0] <= 5 && shares[1] > 20 && shares[2] > 20, "{shares:?}");
}

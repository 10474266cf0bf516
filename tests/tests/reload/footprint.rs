//! Memory, threads and tasks after 500 reloads are those after 5.

use std::fmt::Write;
use std::time::{Duration, Instant};

use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::servers;
use tokio::time::sleep;

/// A file that is large enough for a leak to show: 100 routes, a few of them with expressions, and a server that comes and goes.
fn large(origins: &[Origin; 3], number: usize) -> String {
    let list = if number.is_multiple_of(2) {
        vec![origins[0].addr(), origins[1].addr()]
    } else {
        origins.each_ref().map(Origin::addr).to_vec()
    };
    let check = "health_check = { type = \"http\", path = \"/check\", interval = \"500ms\", timeout = \"5s\" }";
    let mut text = format!(
        "[upstreams.app]\nservers = [{}]\n{check}\n\n[[routes]]\npath = \"/\"\nupstream = \"app\"\n\n",
        servers(&list)
    );
    for route in 0..100 {
        let path = if route % 20 == 0 {
            format!("~^/r{route}/[a-z]+$")
        } else {
            format!("/r{route}")
        };
        write!(
            text,
            "[[routes]]\npath = '{path}'\nrespond = {{ status = 200, body = \"{number}\", content_type = \"text/plain\" }}\n\n"
        )
        .unwrap();
    }
    text
}

#[tokio::test]
async fn five_hundred_reloads_leave_nothing_behind() {
    let origins = [Origin::named("a").await, Origin::named("b").await, Origin::named("c").await];
    let mut lb = Lb::start(&large(&origins, 0)).await;
    let mut after_5 = lb.process.footprint();
    for number in 1..=500 {
        lb.write_config(&large(&origins, number));
        let answer = lb.reload_by_api().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        if number % 10 == 0 {
            assert_eq!(lb.get("/r1").await.text(), number.to_string());
            assert_eq!(lb.get("/").await.status, 200);
        }
        if number == 5 {
            after_5 = lb.process.footprint();
        }
    }
    let after_500 = lb.process.footprint();
    // a snapshot that stays behind is more than 100 KiB here, so that 495 of them would be 50 MiB; what the allocator keeps goes up and
    // down by 20 MiB
    let grown = after_500.resident_kib.saturating_sub(after_5.resident_kib);
    assert!(grown < 32 * 1024, "memory grew by {grown} KiB: {after_5:?} then {after_500:?}");
    // a runtime may keep a helper thread for a while
    assert!(after_500.threads <= after_5.threads + 4, "{after_5:?} then {after_500:?}");
    assert!(after_500.descriptors <= after_5.descriptors + 8, "{after_5:?} then {after_500:?}");
    // a check's task that stays behind would ask too
    let (before, start) = (origins[0].checks().len(), Instant::now());
    sleep(Duration::from_secs(2)).await;
    let (checks, due) = (origins[0].checks().len() - before, start.elapsed().as_secs_f64() / 0.45 + 2.0);
    assert!((checks as f64) <= due, "{checks} checks of one server where {due:.0} are the most");
}

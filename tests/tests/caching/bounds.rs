//! The store never takes more than it may.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;

use super::{cached, fresh};

#[tokio::test]
async fn writing_ten_times_the_bound_never_passes_it_by_more_than_5_percent() {
    let origin = Origin::start(|_| fresh(&"x".repeat(20_000))).await;
    let lb = Lb::start(&format!("[cache]\nmemory = \"2MiB\"\nmax_object = \"1MiB\"\n\n{}", cached(&origin))).await;
    let (mut most, bound) = (0.0_f64, 2.0 * 1024.0 * 1024.0);
    let mut connection = lb.connect().await;
    for number in 0..1_050 {
        let answer = connection.send(&Request::get(&format!("/{number}"))).await.unwrap();
        assert_eq!(answer.body.len(), 20_000);
        if number % 25 == 0 {
            most = most.max(lb.metrics().await.value("lb_cache_bytes", &[]).unwrap());
        }
    }
    assert!(most <= bound * 1.05, "{most} bytes where {bound} are the bound");
    assert!(most >= bound * 0.7, "only {most} of {bound} bytes were used");
    assert_eq!(origin.count(), 1_050);
}

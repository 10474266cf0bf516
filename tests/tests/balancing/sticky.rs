//! `sticky`: a client stays with its server.

use lb_tests::client::{Request, Response};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};

use super::app;

const STICKY: &str = "sticky = { ttl = \"1h\" }";

async fn named() -> Vec<Origin> {
    vec![Origin::named("a").await, Origin::named("b").await, Origin::named("c").await]
}

/// `name=value` of the cookie that an answer sets; empty where it sets none.
fn cookie(answer: &Response) -> String {
    let set = answer.headers.get("set-cookie").unwrap_or_default();
    set.split(';').next().unwrap_or_default().to_owned()
}

async fn with(lb: &Lb, cookie: &str) -> Response {
    lb.send(&Request::get("/").header("Cookie", format!("theme=dark; {cookie}"))).await
}

#[tokio::test]
async fn a_client_stays_with_its_server_over_reloads() {
    let origins = named().await;
    let mut lb = Lb::start(&app(&origins, STICKY)).await;
    for round in 0..3 {
        let first = lb.get("/").await;
        let set = first.header("set-cookie").to_owned();
        assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600"), "{set}");
        let port = origins[0].addr().port().to_string();
        assert!(
            set.starts_with("lb_server=") && !set.contains("127.0.0.1") && !set.contains(&port),
            "{set}"
        );
        lb.reload(&app(&origins, &format!("{STICKY}\n# reload {round}"))).await;
        for _ in 0..6 {
            let next = with(&lb, &cookie(&first)).await;
            assert_eq!(next.text(), first.text());
            assert_eq!(cookie(&next), "", "it has the right one");
        }
    }
}

#[tokio::test]
async fn what_somebody_made_up_is_no_cookie() {
    let origins = named().await;
    let lb = Lb::start(&app(&origins, STICKY)).await;
    for made_up in ["AAAAAAAAAAAAAAAAAAAAAA", "", "a", &origins[0].addr().to_string()] {
        let answer = with(&lb, &format!("lb_server={made_up}")).await;
        assert_eq!(answer.status, 200);
        assert!(cookie(&answer).len() > 20, "{made_up} was taken for a cookie");
    }
}

#[tokio::test]
async fn a_weight_of_0_keeps_its_clients_and_gets_no_new_ones() {
    let origins = named().await;
    let mut lb = Lb::start(&app(&origins[..1], STICKY)).await;
    let first = lb.get("/").await;
    let weighted = format!(
        "[upstreams.app]\n{STICKY}\nservers = [{{ address = \"{}\", weight = 0 }}, \"{}\"]\n",
        origins[0].addr(),
        origins[1].addr()
    );
    lb.reload(&weighted).await;
    for _ in 0..5 {
        assert_eq!(with(&lb, &cookie(&first)).await.text(), "a");
        assert_eq!(lb.get("/").await.text(), "b");
    }
}

#[tokio::test]
async fn a_client_whose_server_fails_gets_another_and_its_cookie() {
    let origins = named().await;
    let lb = Lb::start(&app(&origins, STICKY)).await;
    let first = lb.get("/").await;
    let gone = origins.iter().position(|origin| origin.count() == 1).unwrap();
    origins[gone].set(|_| Reply::new(503));
    let second = with(&lb, &cookie(&first)).await;
    assert_eq!(second.status, 200);
    assert_ne!(second.text(), first.text());
    assert!(!cookie(&second).is_empty() && cookie(&second) != cookie(&first));
    assert_eq!(with(&lb, &cookie(&second)).await.text(), second.text());
}

#[tokio::test]
async fn a_secret_makes_several_agree() {
    let origins = named().await;
    let secret = |secret: &str| app(&origins, &format!("sticky = {{ cookie = \"s\", secret = \"{secret}\" }}"));
    let [one, other, stranger] = [
        Lb::start(&secret("0123456789abcdef")).await,
        Lb::start(&secret("0123456789abcdef")).await,
        Lb::start(&secret("another one for others")).await,
    ];
    let first = one.get("/").await;
    assert!(
        first.header("set-cookie").ends_with("SameSite=Lax"),
        "without a ttl it lasts as long as the browser"
    );
    for _ in 0..4 {
        let next = with(&other, &cookie(&first)).await;
        assert_eq!((next.text(), cookie(&next)), (first.text(), String::new()));
    }
    assert_ne!(cookie(&with(&stranger, &cookie(&first)).await), "");
}

#[tokio::test]
async fn what_is_stored_has_no_cookie_in_it() {
    let origin = Origin::start(|_| Reply::text("for all").header("Cache-Control", "max-age=60")).await;
    let route = "[[routes]]\nupstream = \"app\"\n[routes.cache]\n";
    let lb = Lb::start(&format!("{}{route}", app(std::slice::from_ref(&origin), STICKY))).await;
    for _ in 0..3 {
        let answer = lb.get("/").await;
        assert_eq!((answer.text(), cookie(&answer)), ("for all".to_owned(), String::new()));
    }
    assert_eq!(origin.count(), 1, "it was stored");
}

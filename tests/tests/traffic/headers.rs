//! `headers` of a route: exact values, all of them; and what they are for, a way around a split.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;

use super::{TRUSTING, send_as, upstream};

#[tokio::test]
async fn who_asks_for_the_canary_gets_it_whatever_the_split_says() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let lb = Lb::start(&format!(
        "{TRUSTING}{}{}\
         [[routes]]\npath = \"/users\"\nheaders = {{ \"x-canary\" = \"1\" }}\nupstream = \"b\"\n\n\
         [[routes]]\npath = \"/users\"\nheaders = {{ \"x-canary\" = \"0\" }}\nupstream = \"a\"\n\n\
         [[routes]]\npath = \"/users\"\nsplit = {{ a = 50, b = 50 }}\n",
        upstream("a", &a),
        upstream("b", &b)
    ))
    .await;
    let mut both = std::collections::BTreeSet::new();
    for client in 0..40 {
        let get = || Request::get("/users/7");
        assert_eq!(send_as(&lb, client, get().header("X-Canary", "1")).await.text(), "b");
        assert_eq!(send_as(&lb, client, get().header("X-Canary", "0")).await.text(), "a");
        let own = send_as(&lb, client, get()).await.text();
        for other in ["", "2", "1, 1", "10", "true"] {
            assert_eq!(send_as(&lb, client, get().header("X-Canary", other)).await.text(), own, "{other:?}");
        }
        both.insert(own);
    }
    assert_eq!(both.len(), 2);
}

/// Routes `/a` with these headers, each answering by its number.
fn routes(headers: &[&str]) -> String {
    let route = |(number, headers): (usize, &&str)| {
        format!("[[routes]]\npath = \"/a\"\nheaders = {{ {headers} }}\nrespond = {{ body = \"{number}\" }}\n\n")
    };
    headers.iter().enumerate().map(route).collect()
}

#[tokio::test]
async fn all_headers_must_be_there_with_just_these_values_and_the_first_route_of_equals_wins() {
    let lb = Lb::start(&routes(&[
        "x-canary = \"1\", x-group = \"Beta\"",
        "x-canary = \"1\"",
        "x-group = \"Beta\"",
        "\"X-Empty\" = \"\"",
    ]))
    .await;
    for (fields, found) in [
        (&[("X-Canary", "1"), ("X-Group", "Beta")][..], "0"),
        (&[("X-Group", "Beta"), ("x-canary", "1"), ("X-Other", "x")], "0"),
        (&[("X-Canary", "1"), ("X-Group", "beta")], "1"),
        (&[("X-CANARY", "1")], "1"),
        // Of several fields one of that value will do; a list in one field is another value.
        (&[("X-Canary", "0"), ("X-Canary", "1")], "1"),
        (&[("X-Canary", "0, 1"), ("X-Group", "Beta")], "2"),
        (&[("X-Canary", " 1 ")], "1"),
        (&[("X-Empty", "")], "3"),
        (&[("X-Empty", "x")], ""),
        (&[], ""),
    ] {
        let request = fields
            .iter()
            .fold(Request::get("/a/b"), |request, (name, value)| request.header(name, value));
        let answer = lb.send(&request).await;
        match found {
            "" => answer.assert_problem(404),
            found => assert_eq!(answer.text(), found, "{fields:?}"),
        }
    }
}

#[tokio::test]
async fn a_more_specific_path_comes_before_a_header_and_file_order_after_both() {
    let lb = Lb::start(
        "[[routes]]\npath = \"/a\"\nrespond = { body = \"first\" }\n\n\
         [[routes]]\npath = \"/a\"\nheaders = { x-canary = \"1\" }\nrespond = { body = \"never\" }\n\n\
         [[routes]]\npath = \"/\"\nheaders = { x-canary = \"1\" }\nrespond = { body = \"shorter\" }\n\n\
         [[routes]]\npath = \"=/a/b\"\nheaders = { x-canary = \"1\" }\nrespond = { body = \"exact\" }\n",
    )
    .await;
    let canary = |target: &str| Request::get(target).header("X-Canary", "1");
    assert_eq!(lb.send(&canary("/a")).await.text(), "first");
    assert_eq!(lb.send(&canary("/a/b")).await.text(), "exact");
    assert_eq!(lb.send(&Request::get("/a/b")).await.text(), "first");
    assert_eq!(lb.send(&canary("/b")).await.text(), "shorter");
}

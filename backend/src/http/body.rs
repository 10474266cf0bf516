//! The body of a request: bounded in size and time, and JSON.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::error::Category;
use tokio::time::timeout;

use crate::error::Problem;
use crate::users::Fields;

/// 10 MB, the largest body that is taken.
const LARGEST: usize = 10_000_000;
/// How much of a larger one is read and thrown away. A client that still sends when its connection is closed may never see the answer.
const DISCARDED: u64 = 100_000_000;
/// How long a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(30);

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "expected a body of at most 10000000 bytes, found more",
    )
}

/// A layer that refuses a request that says itself that it is too large, whatever it is for.
pub(super) async fn refuse_announced(request: Request, next: Next) -> Result<Response, Problem> {
    let announced = request.body().size_hint().lower();
    if announced <= LARGEST as u64 {
        return Ok(next.run(request).await);
    }
    // A client that expects a go-ahead does not send before it has one.
    if announced <= DISCARDED && !request.headers().contains_key(EXPECT) {
        let _ = timeout(DEADLINE, discard(request.into_body(), 0)).await;
    }
    Err(too_large())
}

/// Reads on until the end, an error, or the bound.
async fn discard(mut body: Body, mut seen: u64) {
    while seen <= DISCARDED
        && let Some(Ok(frame)) = body.frame().await
    {
        seen += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

/// What a JSON object in the body says.
pub(super) struct Json(pub(super) Fields);

impl<S: Sync> FromRequest<S> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_type(request.headers())?;
        let bytes = timeout(DEADLINE, read(request.into_body()))
            .await
            .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))??;
        serde_json::from_slice(&bytes).map(Self).map_err(|e| match e.classify() {
            // `Fields` takes every object, so this is something else.
            Category::Data => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "expected a JSON object, found another kind of value",
            ),
            _ => Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {e}")),
        })
    }
}

/// `application/json`, or anything that says it is built on it, such as `application/merge-patch+json` (RFC 6839).
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence
        .strip_prefix("application/")
        .is_some_and(|kind| kind == "json" || kind.ends_with("+json"));
    if !json {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected Content-Type: application/json",
        ));
    }
    let coded = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected a body without Content-Encoding",
        ));
    }
    Ok(())
}

async fn read(mut body: Body) -> Result<Vec<u8>, Problem> {
    // What is announced was checked; nothing is reserved on a client's word alone, beyond what is usual.
    let mut bytes = Vec::with_capacity(usize::try_from(body.size_hint().lower()).unwrap_or(0).min(4096));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body was cut off or is malformed"))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > LARGEST {
            drop(bytes);
            discard(body, LARGEST as u64).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_taken() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().expect("a value"));
            check_type(&headers).is_ok()
        };
        for right in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/merge-patch+json",
        ] {
            assert!(with(right), "{right} was refused");
        }
        for wrong in ["", "text/json", "application/x-www-form-urlencoded", "application/jsonp", "json"] {
            assert!(!with(wrong), "{wrong} was taken");
        }
        assert!(check_type(&HeaderMap::new()).is_err());
    }
}

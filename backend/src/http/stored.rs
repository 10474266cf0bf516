//! Users and lists as they are sent, from the cache where there is one.
//!
//! What is kept is what is sent, so that a hit needs no work: a list's body, and a user's behind its version.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::App;
use super::query::Part;
use super::users::{Behind, Listing, Page};
use crate::cache::{Fetched, Key};
use crate::error::Problem;
use crate::store::{At, Store, StoreError};

type Result<T> = std::result::Result<T, StoreError>;

/// The body of a part of the list.
pub(super) async fn list(app: &App, part: Part) -> std::result::Result<Bytes, Problem> {
    let Some(cache) = &app.cache else {
        return Ok(body(&fetch_list(app.store.as_ref(), part, At::Primary).await?)?.into());
    };
    let key = match part {
        Part::Page { page, limit, .. } => format!("p{page}-{limit}"),
        Part::After { id, limit } => format!("a{id}-{limit}"),
    };
    let store = Arc::clone(&app.store);
    let fetch = move |at| {
        let store = Arc::clone(&store);
        async move {
            Ok(Fetched {
                value: Some(body(&fetch_list(store.as_ref(), part, at).await?)?.into()),
                version: None,
            })
        }
    };
    let found = cache.read(Key::List(key), fetch).await?;
    found.ok_or_else(|| Problem::internal("the cache has no list where there always is one".into()))
}

async fn fetch_list(store: &dyn Store, part: Part, at: At) -> Result<Listing> {
    Ok(match part {
        Part::Page { page, limit, offset } => {
            let (users, total) = store.page(offset, limit, at).await?;
            Listing::Page(Page { users, page, limit, total })
        }
        Part::After { id, limit } => {
            // One more than asked for tells whether there is a next part.
            let mut users = store.after(id, limit + 1, at).await?;
            let asked = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = users.len() > asked;
            users.truncate(asked);
            let next = users.last().map(|user| user.id).filter(|_| more);
            Listing::Behind(Behind { users, limit, next })
        }
    })
}

/// A user's version and body.
pub(super) async fn user(app: &App, id: i64) -> std::result::Result<Option<(i64, Bytes)>, Problem> {
    let Some(cache) = &app.cache else {
        let user = app.store.user(id, At::Primary).await?;
        return Ok(user.map(|user| body(&user).map(|body| (user.version, body.into()))).transpose()?);
    };
    let store = Arc::clone(&app.store);
    let fetch = move |at| fetch_user(Arc::clone(&store), id, at);
    let Some(found) = cache.read(Key::User(id), fetch.clone()).await? else {
        return Ok(None);
    };
    if let Some(read) = read(&found) {
        return Ok(Some(read));
    }
    // Somebody has written something else there. It goes with the next write, or after a while.
    tracing::warn!("what the cache has of user {id} cannot be read");
    let found = fetch(At::Primary).await?.value;
    Ok(found.as_ref().and_then(read))
}

async fn fetch_user(store: Arc<dyn Store>, id: i64, at: At) -> Result<Fetched> {
    let Some(user) = store.user(id, at).await? else {
        return Ok(Fetched {
            value: None,
            version: None,
        });
    };
    let mut value = format!("{} ", user.version).into_bytes();
    value.append(&mut body(&user)?);
    Ok(Fetched {
        value: Some(value.into()),
        version: Some(user.version),
    })
}

/// Takes the version off.
fn read(kept: &Bytes) -> Option<(i64, Bytes)> {
    let end = kept.iter().position(|byte| *byte == b' ')?;
    let version = std::str::from_utf8(kept.get(..end)?).ok()?.parse().ok()?;
    Some((version, kept.slice(end + 1..)))
}

fn body<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| StoreError::Broken(format!("cannot be written as JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::User;

    #[test]
    fn what_is_kept_is_read_as_it_was_written() {
        let user = User {
            id: 7,
            name: "Ada L.".into(),
            email: "ada@example.com".into(),
            version: 12,
        };
        let mut kept = b"12 ".to_vec();
        kept.append(&mut body(&user).expect("it is JSON"));
        let (version, sent) = read(&kept.into()).expect("it is whole");
        assert_eq!(version, 12);
        assert_eq!(sent, r#"{"id":7,"name":"Ada L.","email":"ada@example.com"}"#);
        for wrong in ["", "12", "x {}", " {}"] {
            assert!(read(&Bytes::from_static(wrong.as_bytes())).is_none(), "{wrong:?} was read");
        }
    }
}

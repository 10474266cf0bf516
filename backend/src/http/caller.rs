//! Who may do what: the access token in `Authorization: Bearer` (RFC 6750), and the setting `AUTH`.
//!
//! These extractors stand before the body's in every handler, so that a stranger is refused before anything of the body is read.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::App;
use crate::auth::Caller;
use crate::error::Problem;
use crate::settings::Who;
use crate::users::Role;

/// Somebody who has logged in.
pub(super) struct Known(pub(super) Caller);

impl FromRequestParts<Arc<App>> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        known(&parts.headers, app).map(Self)
    }
}

/// Somebody who may read.
pub(super) struct Reader;

impl FromRequestParts<Arc<App>> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        if app.who == Who::Everybody {
            known(&parts.headers, app)?;
        }
        Ok(Self)
    }
}

/// Somebody who may write something; what, the handler asks.
pub(super) enum Writer {
    /// Nobody had to log in.
    Anybody,
    /// This user.
    Known(Caller),
}

impl FromRequestParts<Arc<App>> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        match app.who {
            Who::Nobody => Ok(Self::Anybody),
            Who::Writers | Who::Everybody => known(&parts.headers, app).map(Self::Known),
        }
    }
}

impl Writer {
    /// Who it is, if that is known.
    pub(super) fn id(&self) -> Option<i64> {
        match self {
            Self::Anybody => None,
            Self::Known(caller) => Some(caller.id),
        }
    }

    /// Users are added by administrators.
    pub(super) fn may_add(&self) -> Result<(), Problem> {
        match self {
            Self::Known(Caller { role: Role::User, .. }) => Err(Problem::forbidden("only an administrator may add users")),
            _ => Ok(()),
        }
    }

    /// Users change themselves, administrators anyone.
    pub(super) fn may_change(&self, user: i64) -> Result<(), Problem> {
        match self {
            Self::Known(Caller { role: Role::User, id }) if *id != user => {
                Err(Problem::forbidden("only an administrator may change other users"))
            }
            _ => Ok(()),
        }
    }
}

fn known(headers: &HeaderMap, app: &App) -> Result<Caller, Problem> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (given, more) = (fields.next(), fields.next());
    let given = given.ok_or_else(Problem::not_logged_in)?;
    let token = given.to_str().ok().filter(|_| more.is_none()).and_then(bearer);
    let caller = app.auth.as_ref().zip(token).and_then(|(auth, token)| auth.caller(token));
    caller.ok_or_else(Problem::invalid_token)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::bearer;

    #[test]
    fn the_scheme_has_no_case_and_the_token_has() {
        assert_eq!(bearer("Bearer aB.c"), Some("aB.c"));
        assert_eq!(bearer("bEARER  x"), Some("x"));
        for wrong in ["", "Bearer", "Basic eDp5", "Bearerx", "x Bearer y"] {
            assert_eq!(bearer(wrong), None, "{wrong:?} was taken");
        }
    }
}

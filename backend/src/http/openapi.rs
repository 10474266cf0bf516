//! The OpenAPI document (`/openapi.json`), which comes from the handlers and the types that they answer with.
//!
//! What a request may say is read by hand ([`crate::users::Fields`]), to find all mistakes at once; so its schemas stand here, and a checker that
//! sends what they allow and what they forbid (`tests/openapi.sh`) keeps them true.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::openapi::schema::{AdditionalProperties, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, OpenApi as _, PartialSchema, ToSchema};

use crate::error::ProblemBody;
use crate::settings::Who;
use crate::users::FieldError;

/// The scheme's name in the document.
const BEARER: &str = "bearer";
/// The name of what all errors are.
const PROBLEM: &str = "Problem";

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "Users", description = "Users, and logging in. Errors are RFC 9457 problems."))]
struct Base;

/// What does not stand at a single route.
pub(super) fn base() -> OpenApi {
    let mut document = Base::openapi();
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    // No route answers with them in its own words, so none brings their schemas along.
    components.schemas.insert(PROBLEM.into(), ProblemBody::schema());
    components.schemas.insert("FieldError".into(), FieldError::schema());
    document
}

/// The document as text, of a server where these must log in, and can.
pub(super) fn text(mut document: OpenApi, who: Who, can_log_in: bool) -> String {
    let needs_login = || Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    document.paths.paths.retain(|path, _| can_log_in || !path.starts_with("/auth/"));
    for (path, item) in &mut document.paths.paths {
        if !path.starts_with("/users") {
            continue;
        }
        let PathItem {
            get,
            post,
            put,
            patch,
            delete,
            ..
        } = item;
        for read in get.iter_mut() {
            read.security = if who == Who::Everybody { needs_login() } else { None };
        }
        for write in [post, put, patch, delete].into_iter().flatten() {
            write.security = if who == Who::Nobody { None } else { needs_login() };
        }
    }
    // It consists of text and numbers.
    document.to_json().unwrap_or_default()
}

/// Groups of errors that several calls have in common.
macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident: $($status:ident),+;)+) => {
        $($(#[$doc])*
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$(StatusCode::$status),+].map(problem).into_iter().collect()
            }
        })+
    };
}

errors! {
    /// Of every read.
    ReadErrors: UNAUTHORIZED, SERVICE_UNAVAILABLE;
    /// Of a list.
    ListErrors: UNPROCESSABLE_ENTITY;
    /// Of whatever is about one user.
    UserErrors: NOT_FOUND;
    /// Of a call with a body.
    BodyErrors: BAD_REQUEST, REQUEST_TIMEOUT, PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, UNPROCESSABLE_ENTITY, SERVICE_UNAVAILABLE;
    /// Of a write.
    WriteErrors: UNAUTHORIZED, FORBIDDEN, SERVICE_UNAVAILABLE;
    /// Of a write with an e-mail address.
    EmailErrors: CONFLICT;
    /// Of a write under a condition.
    ConditionErrors: PRECONDITION_FAILED;
    /// Of a login.
    LoginErrors: UNAUTHORIZED, TOO_MANY_REQUESTS;
    /// Of what needs a token.
    TokenErrors: UNAUTHORIZED;
    /// Of what asks the database.
    Unavailable: SERVICE_UNAVAILABLE;
}

fn problem(status: StatusCode) -> (String, RefOr<Response>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(PROBLEM))).build();
    let response = ResponseBuilder::new()
        .description(status.canonical_reason().unwrap_or_default())
        .content("application/problem+json", content)
        .build();
    (status.as_u16().to_string(), response.into())
}

/// White space, as it is taken off the ends of a name (Unicode's `White_Space`).
const SPACE: &str = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
/// Control characters (Unicode's category `Cc`).
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";
/// A part of a domain.
const LABEL: &str = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";

fn any_text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn name() -> ObjectBuilder {
    let (visible, any) = (format!("[^{SPACE}{CONTROL}]"), format!("[^{CONTROL}]"));
    let pattern = format!("^[{SPACE}]*{visible}(?:{any}{{0,98}}{visible})?[{SPACE}]*$");
    any_text().pattern(Some(pattern)).examples(["Ada"])
}

fn email() -> ObjectBuilder {
    let pattern = format!("^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{LABEL}(?:\\.{LABEL})*$");
    any_text()
        .pattern(Some(pattern))
        .max_length(Some(254))
        .examples(["ada@example.com"])
}

fn password() -> ObjectBuilder {
    any_text().min_length(Some(8)).max_length(Some(128)).examples(["correct horse"])
}

/// What the bodies of requests may say: fields that are needed, then others that may be there, and no more.
macro_rules! bodies {
    ($($(#[$doc:meta])* $body:ident { $($needed:ident: $as:expr),* ; $($optional:ident: $or:expr),* })+) => {
        $($(#[$doc])*
        pub(super) struct $body;

        impl PartialSchema for $body {
            fn schema() -> RefOr<Schema> {
                let object = ObjectBuilder::new().schema_type(Type::Object);
                $(let object = object.property(stringify!($needed), $as).required(stringify!($needed));)*
                $(let object = object.property(stringify!($optional), $or);)*
                object.additional_properties(Some(AdditionalProperties::FreeForm(false))).into()
            }
        }

        impl ToSchema for $body {})+
    };
}

bodies! {
    /// A new user, who need not be able to log in.
    NewUser { name: name(), email: email(); password: password() }
    /// A new user who is going to log in.
    Registration { name: name(), email: email(), password: password(); }
    /// All of a user.
    Replacement { name: name(), email: email(); }
    /// A part of a user.
    Change { ; name: name(), email: email() }
    /// What one logs in with.
    Credentials { email: any_text(), password: any_text(); }
    /// What a session is known by.
    Refresh { refresh_token: any_text(); }
}

/// Which part of the list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what `Part` reads")]
pub(super) struct ListParameters {
    /// The page, counted from 1; not together with `after`.
    #[param(minimum = 1, maximum = 92233720368547758i64, default = 1, nullable = false)]
    page: Option<i64>,
    /// How many users at most.
    #[param(minimum = 1, maximum = 100, default = 10, nullable = false)]
    limit: Option<i64>,
    /// The id behind which to go on: 0 at first, then `next` of the part before.
    #[param(minimum = 0, maximum = 9223372036854775807i64, nullable = false)]
    after: Option<i64>,
}

/// Conditions of a write.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what `conditions` reads")]
pub(super) struct Conditions {
    /// Only if the user has this `ETag`.
    #[param(rename = "If-Match", required = false, example = "\"1-1\"")]
    if_match: String,
    /// Only if the user has another one.
    #[param(rename = "If-None-Match", required = false, example = "\"1-1\"")]
    if_none_match: String,
}

/// The condition of a read.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what `conditions` reads")]
pub(super) struct Known {
    /// The `ETag` that is known already: 304 when it still is the user's.
    #[param(rename = "If-None-Match", required = false, example = "\"1-1\"")]
    if_none_match: String,
}

/// A request that may come again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what `idempotency` reads")]
pub(super) struct Idempotent {
    /// The same key with the same body gets the same answer and adds nobody.
    #[param(rename = "Idempotency-Key", required = false, pattern = "^([!#-~]{1,255}|\"[!#-~]{1,255}\")$")]
    idempotency_key: String,
}

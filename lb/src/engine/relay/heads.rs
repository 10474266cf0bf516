//! The heads that go out: the request's to a server, the answer's to the client.

use bytes::BytesMut;
use http::{StatusCode, Version, header};

use super::answer::{connection, status_line};
use super::date;
use super::download::Form;
use super::edit::HeadEditor;
use super::upstream::Connection;
use crate::engine::h1::{Head, Request, ResponseFraming};
use crate::exchange::Exchange;
use crate::exchange::head::{Fields, RequestHead, ResponseHead};
use crate::filter;

/// The head for the server.
pub(super) fn write_request(out: &mut BytesMut, request: &Request, exchange: &Exchange) {
    write_head(out, request, exchange, exchange.kept_connections() > 0, |head, editor| {
        exchange.edit_request(head, editor);
    });
}

/// The head for a server, edited so.
pub(super) fn write_head(
    out: &mut BytesMut,
    request: &Request,
    exchange: &Exchange,
    keep: bool,
    edit: impl FnOnce(&Head<'_>, &mut HeadEditor<'_>),
) {
    let head = request.head();
    out.clear();
    out.extend_from_slice(head.method().as_str().as_bytes());
    out.extend_from_slice(b" ");
    match exchange.forwarded_target(&head) {
        Some(target) => out.extend_from_slice(&target),
        None => out.extend_from_slice(head.target()),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut editor = HeadEditor::new(out, head.lines());
    if head.get(&header::HOST).is_none() && !head.authority().is_empty() {
        // HTTP/1.0 in absolute form: the authority becomes the field (RFC 9112 §3.2.2).
        editor.put("host", head.authority());
    }
    edit(&head, &mut editor);
    if !keep {
        editor.put("connection", b"close");
    }
    editor.finish();
}

/// How the body has to be written for this client.
pub(super) fn form(request: &Request, framing: ResponseFraming) -> Form {
    match (framing, request.parsed().version()) {
        (ResponseFraming::Chunked | ResponseFraming::UntilClose, Version::HTTP_10) => Form::Content,
        (ResponseFraming::UntilClose, _) => Form::Chunks,
        (ResponseFraming::Chunked, _) => Form::AsItComes {
            trailers: takes_trailers(request),
        },
        _ => Form::AsItComes { trailers: false },
    }
}

fn takes_trailers(request: &Request) -> bool {
    let head = request.head();
    head.all(&header::TE)
        .flat_map(|line| line.split(|&byte| byte == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The head for the client.
pub(super) fn answer_head(request: &Request, exchange: &Exchange, server: &Connection, form: Form, keep: bool) -> BytesMut {
    let head = server.head();
    let mut out = BytesMut::with_capacity(server.parsed().len() + 256);
    status_line(&mut out, head.status(), head.reason());
    let mut editor = HeadEditor::new(&mut out, head.lines());
    filter::response_hop(&head, &mut editor);
    exchange.edit_answer(&mut editor);
    if head.status().is_informational() || head.status() == StatusCode::NO_CONTENT {
        unframe(&mut editor);
    } else if !editor.has("date") {
        editor.put("date", &date::now());
    }
    match form {
        Form::AsItComes { .. } => {}
        Form::Content => editor.take_away("transfer-encoding"),
        Form::Chunks => editor.put("transfer-encoding", b"chunked"),
    }
    connection(&mut editor, request, keep);
    editor.finish();
    out
}

/// The head of an interim answer for the client.
pub(super) fn interim_head(server: &Connection) -> BytesMut {
    let head = server.head();
    let mut out = BytesMut::with_capacity(server.parsed().len());
    status_line(&mut out, head.status(), head.reason());
    let mut editor = HeadEditor::new(&mut out, head.lines());
    filter::response_hop(&head, &mut editor);
    unframe(&mut editor);
    editor.finish();
    out
}

/// An answer that has no body says nothing of its length (RFC 9110 §8.6, RFC 9112 §6.1).
fn unframe(editor: &mut HeadEditor<'_>) {
    editor.take_away("content-length");
    editor.take_away("transfer-encoding");
}

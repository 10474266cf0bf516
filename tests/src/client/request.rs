//! What is sent.

use bytes::Bytes;

use crate::framing::chunked;

/// A request of which every byte can be chosen.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Length(Bytes),
    Chunked(Vec<Bytes>),
}

impl Request {
    /// Any method.
    pub fn new(method: &str, target: &str) -> Request {
        Request {
            method: method.into(),
            target: target.into(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: Body::None,
        }
    }

    /// `GET`.
    pub fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    /// `HEAD`.
    pub fn head(target: &str) -> Request {
        Request::new("HEAD", target)
    }

    /// `POST` with a body and its length.
    pub fn post(target: &str, body: impl Into<Bytes>) -> Request {
        Request::new("POST", target).body(body)
    }

    /// Adds a field. `Host` replaces the one that is sent otherwise, `lb.test`.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// A body, with `Content-Length`.
    pub fn body(mut self, body: impl Into<Bytes>) -> Request {
        self.body = Body::Length(body.into());
        self
    }

    /// A body in chunks, one for each piece.
    pub fn chunks(mut self, pieces: Vec<Bytes>) -> Request {
        self.body = Body::Chunked(pieces);
        self
    }

    /// Speaks HTTP/1.0.
    pub fn http10(mut self) -> Request {
        self.version = "HTTP/1.0";
        self
    }

    /// Its method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Its head as it is written.
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} {}\r\n", self.method, self.target, self.version).into_bytes();
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            out.extend_from_slice(b"Host: lb.test\r\n");
        }
        for (name, value) in &self.headers {
            out.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        match &self.body {
            Body::None => {}
            Body::Length(body) => out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes()),
            Body::Chunked(_) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// The whole request as it is written.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.head_bytes();
        match &self.body {
            Body::None => {}
            Body::Length(body) => out.extend_from_slice(body),
            Body::Chunked(pieces) => out.extend_from_slice(&chunked(pieces)),
        }
        out
    }
}

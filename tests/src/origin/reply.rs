//! What an origin does with a request.

use std::time::Duration;

use bytes::Bytes;

use crate::framing::chunked;

/// One thing that an origin does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Writes these bytes at once.
    Write(Bytes),
    /// Waits; a peer that goes away ends it.
    Pause(Duration),
    /// Waits until [`super::Origin::release`] lets it go on; a peer that goes away ends it.
    Hold,
    /// Waits until [`super::Origin::release`] lets it go on, and reads nothing meanwhile: not even that the peer is gone.
    Stall,
    /// Reads until the peer has ended its side of the connection.
    ReadToEnd,
    /// Ends its own side of the connection and goes on.
    FinishWriting,
    /// Writes a whole 200 with the request's body as its body.
    Echo,
    /// From now on sends everything back that comes, until either side ends.
    Tunnel,
    /// Closes in order.
    Close,
    /// Closes by a reset.
    Reset,
}

impl Step {
    /// Writes these bytes at once.
    pub fn write(bytes: impl AsRef<[u8]>) -> Step {
        Step::Write(Bytes::copy_from_slice(bytes.as_ref()))
    }
}

/// An answer, or what is done instead of one.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) before: Vec<Step>,
    pub(super) what: What,
    pub(super) after: Vec<Step>,
    /// Whether it is given before the request's body was read.
    pub(super) early: bool,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Message {
        status: u16,
        headers: Vec<(String, String)>,
        body: Body,
    },
    Nothing,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    None,
    Length(Bytes),
    Chunked(Vec<Bytes>),
    UntilClose(Bytes),
}

impl Reply {
    /// That status, without a body: `Content-Length: 0` unless [`Reply::body`] and the like say otherwise.
    pub fn new(status: u16) -> Reply {
        let body = if status == 204 || status == 304 || status < 200 {
            Body::None
        } else {
            Body::Length(Bytes::new())
        };
        Reply {
            before: Vec::new(),
            what: What::Message {
                status,
                headers: Vec::new(),
                body,
            },
            after: Vec::new(),
            early: false,
        }
    }

    /// 200 with this text.
    pub fn text(text: &str) -> Reply {
        Reply::new(200).header("Content-Type", "text/plain").body(text.to_owned())
    }

    /// These steps and nothing else.
    pub fn script(steps: Vec<Step>) -> Reply {
        Reply {
            before: steps,
            what: What::Nothing,
            after: Vec::new(),
            early: false,
        }
    }

    /// These bytes, whatever they are.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::script(vec![Step::write(bytes)])
    }

    /// The request's body, as it came.
    pub fn echo() -> Reply {
        Reply::script(vec![Step::Echo])
    }

    /// Closes without a byte.
    pub fn close() -> Reply {
        Reply::script(vec![Step::Close])
    }

    /// Resets without a byte.
    pub fn reset() -> Reply {
        Reply::script(vec![Step::Reset])
    }

    /// Never answers.
    pub fn never() -> Reply {
        Reply::script(vec![Step::Pause(Duration::from_secs(3600)), Step::Close])
    }

    /// Agrees to an upgrade and sends everything back that comes.
    pub fn tunnel(protocol: &str) -> Reply {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        Reply::script(vec![Step::write(head), Step::Tunnel])
    }

    /// Adds a field.
    pub fn header(mut self, name: &str, value: &str) -> Reply {
        if let What::Message { headers, .. } = &mut self.what {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// A body with its length.
    pub fn body(self, bytes: impl Into<Bytes>) -> Reply {
        self.with(Body::Length(bytes.into()))
    }

    /// A body in chunks.
    pub fn chunked(self, pieces: &[&str]) -> Reply {
        self.with(Body::Chunked(
            pieces.iter().map(|piece| Bytes::copy_from_slice(piece.as_bytes())).collect(),
        ))
    }

    /// A body that ends with the connection.
    pub fn until_close(self, bytes: impl Into<Bytes>) -> Reply {
        self.with(Body::UntilClose(bytes.into())).then(Step::Close)
    }

    fn with(mut self, new: Body) -> Reply {
        if let What::Message { body, .. } = &mut self.what {
            *body = new;
        }
        self
    }

    /// Waits so long first.
    pub fn after(mut self, delay: Duration) -> Reply {
        self.before.push(Step::Pause(delay));
        self
    }

    /// Waits first until it is released.
    pub fn held(mut self) -> Reply {
        self.before.push(Step::Hold);
        self
    }

    /// Does this besides, when the answer is written.
    pub fn then(mut self, step: Step) -> Reply {
        self.after.push(step);
        self
    }

    /// Begins before the request's body was read.
    pub fn early(mut self) -> Reply {
        self.early = true;
        self
    }

    /// The steps for a request of that method.
    pub(super) fn steps(self, method: &str) -> Vec<Step> {
        let mut steps = self.before;
        if let What::Message { status, headers, body } = self.what {
            steps.push(Step::Write(message(status, &headers, &body, method != "HEAD").into()));
        }
        steps.extend(self.after);
        steps
    }
}

fn message(status: u16, headers: &[(String, String)], body: &Body, with_body: bool) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} Status\r\n").into_bytes();
    for (name, value) in headers {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    let (framing, bytes) = match body {
        Body::None => (String::new(), Vec::new()),
        Body::Length(bytes) => (format!("Content-Length: {}\r\n", bytes.len()), bytes.to_vec()),
        Body::Chunked(pieces) => ("Transfer-Encoding: chunked\r\n".to_owned(), chunked(pieces)),
        Body::UntilClose(bytes) => ("Connection: close\r\n".to_owned(), bytes.to_vec()),
    };
    out.extend_from_slice(framing.as_bytes());
    out.extend_from_slice(b"\r\n");
    if with_body {
        out.extend_from_slice(&bytes);
    }
    out
}

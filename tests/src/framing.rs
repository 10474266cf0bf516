//! Where a message's body ends (RFC 9112 §6), for client and origin alike.

use bytes::{Bytes, BytesMut};

/// Header fields in the order in which they came; bytes that are no ASCII stand as the character of that number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// What httparse found.
    pub fn from_parsed(parsed: &[httparse::Header<'_>]) -> Headers {
        Headers(
            parsed
                .iter()
                .map(|field| (field.name.to_owned(), field.value.iter().map(|byte| char::from(*byte)).collect()))
                .collect(),
        )
    }

    /// The value of the first field of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The values of all fields of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether a field of that name is there.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether a comma-separated field has this member, without case.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|found| found.trim().eq_ignore_ascii_case(member))
    }

    /// How the body after these fields is framed; `None` when they say nothing.
    pub fn framing(&self) -> Option<Framing> {
        if self.lists("transfer-encoding", "chunked") {
            return Some(Framing::Chunked(Chunk::Size));
        }
        self.get("content-length")
            .and_then(|value| value.trim().parse().ok())
            .map(Framing::Length)
    }
}

/// How much of a body is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
    /// All until the connection is closed.
    UntilClose,
}

/// Where in a chunked body we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Before a chunk's size.
    Size,
    /// In its data; so many bytes are left.
    Data(u64),
    /// Before the line end after the data.
    DataEnd,
    /// After the last chunk: trailers up to an empty line.
    Trailers(Vec<String>),
}

/// What [`Framing::take`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// A piece of the body.
    Data(Bytes),
    /// More bytes are needed.
    More,
    /// The body is over; these are its trailer lines.
    End(Vec<String>),
}

impl Framing {
    /// No body.
    pub const NONE: Framing = Framing::Length(0);

    /// Takes the next piece of the body out of what was read.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Taken, String> {
        match self {
            Framing::Length(0) => Ok(Taken::End(Vec::new())),
            Framing::Length(left) => Ok(piece(buffer, left)),
            Framing::UntilClose if buffer.is_empty() => Ok(Taken::More),
            Framing::UntilClose => Ok(Taken::Data(buffer.split().freeze())),
            Framing::Chunked(chunk) => chunk.take(buffer),
        }
    }
}

impl Chunk {
    fn take(&mut self, buffer: &mut BytesMut) -> Result<Taken, String> {
        loop {
            match self {
                Chunk::Size => {
                    let Some(line) = line(buffer) else { return Ok(Taken::More) };
                    let digits = line.split(';').next().unwrap_or_default().trim();
                    let size = u64::from_str_radix(digits, 16).map_err(|_| format!("a chunk size of {line:?}"))?;
                    *self = if size == 0 {
                        Chunk::Trailers(Vec::new())
                    } else {
                        Chunk::Data(size)
                    };
                }
                Chunk::Data(0) => *self = Chunk::DataEnd,
                Chunk::Data(left) => return Ok(piece(buffer, left)),
                Chunk::DataEnd => match line(buffer) {
                    None => return Ok(Taken::More),
                    Some(line) if line.is_empty() => *self = Chunk::Size,
                    Some(line) => return Err(format!("{line:?} after a chunk")),
                },
                Chunk::Trailers(lines) => match line(buffer) {
                    None => return Ok(Taken::More),
                    Some(line) if line.is_empty() => return Ok(Taken::End(std::mem::take(lines))),
                    Some(line) => lines.push(line),
                },
            }
        }
    }
}

fn piece(buffer: &mut BytesMut, left: &mut u64) -> Taken {
    if buffer.is_empty() {
        return Taken::More;
    }
    let size = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= size as u64;
    Taken::Data(buffer.split_to(size).freeze())
}

fn line(buffer: &mut BytesMut) -> Option<String> {
    let end = buffer.windows(2).position(|pair| pair == b"\r\n")?;
    let line = buffer.split_to(end + 2);
    Some(String::from_utf8_lossy(&line[..end]).into_owned())
}

/// Puts a body into chunks, one for each piece.
pub fn chunked<B: AsRef<[u8]>>(pieces: &[B]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        let piece = piece.as_ref();
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_the_same_wherever_it_is_split() {
        let wire = [chunked(&["hello", " ", "world"]), b"next".to_vec()].concat();
        for split in 0..wire.len() {
            let (mut buffer, mut body, mut framing) = (BytesMut::from(&wire[..split]), Vec::new(), Framing::Chunked(Chunk::Size));
            let mut rest = Some(&wire[split..]);
            loop {
                match framing.take(&mut buffer).unwrap() {
                    Taken::Data(data) => body.extend_from_slice(&data),
                    Taken::More => buffer.extend_from_slice(rest.take().expect("no more is needed than there is")),
                    Taken::End(_) => break,
                }
            }
            buffer.extend_from_slice(rest.unwrap_or_default());
            assert_eq!((body.as_slice(), buffer.as_ref()), (b"hello world".as_slice(), b"next".as_slice()));
        }
    }

    #[test]
    fn trailers_are_kept_apart_from_the_body() {
        let mut buffer = BytesMut::from("0\r\na: 1\r\nb: 2\r\n\r\n");
        assert_eq!(
            Framing::Chunked(Chunk::Size).take(&mut buffer),
            Ok(Taken::End(vec!["a: 1".into(), "b: 2".into()]))
        );
    }
}

//! A message, or what is attached to it → the octets of a request (RFC 3507 §4.3, §4.5, §4.8, §4.9).
//!
//! Pure. A message is wrapped as if it had been fetched (RESPMOD) or were sent up (REQMOD) over HTTP.
//! The names of attachments go into the URL percent-encoded, so that nothing in them is anything else.
//! Nothing here fails.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::place::Place;

/// How much of a body is one chunk.
const CHUNK: usize = 64 * 1024;
/// How much of an attachment's name is told.
const NAME: usize = 96;
/// Nobody's name (RFC 6761 §6.4), since there is no such server.
const ORIGIN: &str = "ilbud.invalid";

const END: &[u8] = b"0\r\n\r\n";
/// The preview was all of it (RFC 3507 §4.5).
const WHOLE_END: &[u8] = b"0; ieof\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Respmod,
    Reqmod,
}

/// What is to be looked at.
#[derive(Debug, Clone)]
pub struct Object {
    pub bytes: Bytes,
    pub content_type: &'static str,
    /// The last piece of its URL.
    pub name: String,
}

impl Object {
    pub fn message(bytes: Bytes) -> Self {
        Self {
            bytes,
            content_type: "message/rfc822",
            name: "message.eml".into(),
        }
    }

    /// An attachment. `is_named` says whether it may be told by its own name.
    pub fn attachment(bytes: Bytes, number: usize, name: Option<&str>) -> Self {
        let name = name.map(encoded).filter(|it| !it.is_empty());
        Self {
            bytes,
            content_type: "application/octet-stream",
            name: name.unwrap_or_else(|| format!("attachment-{number}")),
        }
    }
}

/// Letters, digits, and what stands harmlessly among them; the end of a long name counts.
fn encoded(name: &str) -> String {
    let skip = name.chars().count().saturating_sub(NAME);
    let name: String = name.chars().skip(skip).collect();
    if name.bytes().all(|it| it == b'.') {
        return String::new();
    }
    let mut out = String::with_capacity(name.len());
    for octet in name.bytes() {
        match octet {
            it if it.is_ascii_alphanumeric() || b"._-".contains(&it) => out.push(char::from(it)),
            it => out.push_str(&format!("%{it:02X}")),
        }
    }
    out
}

/// How it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub method: Method,
    /// How much is shown first; None: all of it at once.
    pub preview: Option<usize>,
    /// By how much the body is said to be longer than it is.
    pub margin: usize,
}

/// A request on its way.
#[derive(Debug)]
pub struct Request {
    head: Bytes,
    body: Bytes,
    preview: Option<usize>,
}

impl Request {
    pub fn new(place: &Place, object: &Object, manner: Manner) -> Self {
        let preview = manner.preview.map(|it| it.min(object.bytes.len()));
        let (section, http) = match manner.method {
            Method::Respmod => ("res", fetched(object, manner.margin)),
            Method::Reqmod => ("req", sent_up(object, manner.margin)),
        };
        let encapsulated = match http.as_slice() {
            [first, second] => format!(
                "req-hdr=0, res-hdr={}, {section}-body={}",
                first.len(),
                first.len() + second.len()
            ),
            heads => {
                let length: usize = heads.iter().map(String::len).sum();
                format!("req-hdr=0, {section}-body={length}")
            }
        };
        let verb = match manner.method {
            Method::Respmod => "RESPMOD",
            Method::Reqmod => "REQMOD",
        };
        let preview_line = preview.map_or_else(String::new, |it| format!("Preview: {it}\r\n"));
        let head = format!(
            "{verb} {place} ICAP/1.0\r\nHost: {}\r\nUser-Agent: Ilbud\r\nAllow: 204\r\n\
             {preview_line}Encapsulated: {encapsulated}\r\n\r\n{}",
            place.authority(),
            http.concat()
        );
        Self {
            head: head.into(),
            body: object.bytes.clone(),
            preview,
        }
    }

    /// What is sent at first.
    pub fn opening(&self) -> Outgoing {
        let head = Some(self.head.clone());
        match self.preview {
            None => Outgoing::new(head, self.body.clone(), END),
            Some(shown) if shown >= self.body.len() => {
                Outgoing::new(head, self.body.clone(), WHOLE_END)
            }
            Some(shown) => Outgoing::new(head, self.body.slice(..shown), END),
        }
    }

    /// What follows when the service wants to see more; None: it has had all of it.
    pub fn rest(&self) -> Option<Outgoing> {
        let shown = self.preview.filter(|it| *it < self.body.len())?;
        Some(Outgoing::new(None, self.body.slice(shown..), END))
    }
}

/// The request for it, and the answer with it.
fn fetched(object: &Object, margin: usize) -> Vec<String> {
    vec![
        format!(
            "GET http://{ORIGIN}/{} HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n",
            object.name
        ),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", measures(object, margin)),
    ]
}

fn sent_up(object: &Object, margin: usize) -> Vec<String> {
    vec![format!(
        "POST http://{ORIGIN}/{} HTTP/1.1\r\nHost: {ORIGIN}\r\n{}\r\n",
        object.name,
        measures(object, margin)
    )]
}

fn measures(object: &Object, margin: usize) -> String {
    format!(
        "Content-Type: {}\r\nContent-Length: {}\r\n",
        object.content_type,
        object.bytes.len() + margin
    )
}

/// `OPTIONS` (RFC 3507 §4.10).
pub fn options(place: &Place) -> Outgoing {
    let head = format!(
        "OPTIONS {place} ICAP/1.0\r\nHost: {}\r\nUser-Agent: Ilbud\r\nEncapsulated: null-body=0\r\n\r\n",
        place.authority()
    );
    Outgoing {
        pieces: VecDeque::from([head.into()]),
        body: Bytes::new(),
        end: b"",
    }
}

/// Octets to be sent, framed as they are taken.
#[derive(Debug)]
pub struct Outgoing {
    /// Framed already.
    pieces: VecDeque<Bytes>,
    body: Bytes,
    /// What follows the last chunk, until it was framed.
    end: &'static [u8],
}

impl Outgoing {
    fn new(head: Option<Bytes>, body: Bytes, end: &'static [u8]) -> Self {
        let mut outgoing = Self {
            pieces: head.into_iter().collect(),
            body,
            end,
        };
        outgoing.frame();
        outgoing
    }

    /// What is to be sent next; nothing: it was all sent.
    pub fn next(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |it| it)
    }

    pub fn is_sent(&self) -> bool {
        self.pieces.is_empty()
    }

    /// So much of [`next`](Self::next) was sent.
    pub fn advance(&mut self, sent: usize) {
        if let Some(piece) = self.pieces.front_mut() {
            let _ = piece.split_to(sent.min(piece.len()));
            if piece.is_empty() {
                self.pieces.pop_front();
                self.frame();
            }
        }
    }

    /// Puts the next chunk behind the rest; with the last of them the end, and the head with the first,
    /// so that what is small goes out at once.
    fn frame(&mut self) {
        if self.end.is_empty() {
            return;
        }
        let chunk = self.body.split_to(self.body.len().min(CHUNK));
        let mut framed = BytesMut::with_capacity(chunk.len() + 1024);
        if let Some(head) = self.pieces.pop_front() {
            framed.extend_from_slice(&head);
        }
        if !chunk.is_empty() {
            framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            framed.extend_from_slice(&chunk);
            framed.extend_from_slice(b"\r\n");
        }
        if self.body.is_empty() {
            framed.extend_from_slice(std::mem::take(&mut self.end));
        }
        self.pieces.push_back(framed.freeze());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn sent(mut outgoing: Outgoing, step: usize) -> String {
        let mut octets = Vec::new();
        while !outgoing.is_sent() {
            let next = outgoing.next();
            let taken = next.len().min(step);
            octets.extend_from_slice(&next[..taken]);
            outgoing.advance(taken);
        }
        String::from_utf8(octets).unwrap()
    }

    fn request(method: Method, preview: Option<usize>, body: &'static str) -> Request {
        let place = "icap://[::1]/av".parse().unwrap();
        let manner = Manner {
            method,
            preview,
            margin: 0,
        };
        Request::new(&place, &Object::message(body.into()), manner)
    }

    #[test]
    fn a_message_is_wrapped_in_http() {
        let whole = request(Method::Respmod, None, "hello");
        assert!(whole.rest().is_none());
        let expected = "RESPMOD icap://[::1]:1344/av ICAP/1.0\r\nHost: [::1]:1344\r\nUser-Agent: Ilbud\r\n\
            Allow: 204\r\nEncapsulated: req-hdr=0, res-hdr=70, res-body=138\r\n\r\n\
            GET http://ilbud.invalid/message.eml HTTP/1.1\r\nHost: ilbud.invalid\r\n\r\n\
            HTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\nContent-Length: 5\r\n\r\n\
            5\r\nhello\r\n0\r\n\r\n";
        assert_eq!(sent(whole.opening(), 7), expected);
        let up = sent(request(Method::Reqmod, None, "hello").opening(), 4096);
        assert!(up.starts_with("REQMOD "), "{up}");
        assert!(
            up.contains("\r\nEncapsulated: req-hdr=0, req-body=120\r\n\r\nPOST http://"),
            "{up}"
        );
    }

    #[test]
    fn a_preview_is_the_whole_or_a_beginning() {
        let beginning = request(Method::Respmod, Some(2), "hello");
        let opening = sent(beginning.opening(), 3);
        assert!(opening.contains("\r\nPreview: 2\r\n"), "{opening}");
        assert!(
            opening.ends_with("\r\n\r\n2\r\nhe\r\n0\r\n\r\n"),
            "{opening}"
        );
        assert_eq!(
            sent(beginning.rest().unwrap(), 4096),
            "3\r\nllo\r\n0\r\n\r\n"
        );

        let nothing = request(Method::Respmod, Some(0), "hello");
        assert!(sent(nothing.opening(), 99).ends_with("\r\n\r\n0\r\n\r\n"));
        assert_eq!(sent(nothing.rest().unwrap(), 1), "5\r\nhello\r\n0\r\n\r\n");

        let whole = request(Method::Respmod, Some(1024), "hello");
        let opening = sent(whole.opening(), 4096);
        assert!(opening.contains("\r\nPreview: 5\r\n"), "{opening}");
        assert!(opening.ends_with("\r\n5\r\nhello\r\n0; ieof\r\n\r\n"));
        assert!(whole.rest().is_none());
    }

    #[test]
    fn large_bodies_go_in_chunks() {
        let body = Bytes::from(vec![b'x'; CHUNK * 2 + 1]);
        let sent = sent(Outgoing::new(None, body, END), 1000);
        let size = format!("{CHUNK:x}\r\n");
        assert_eq!(sent.matches(&size).count(), 2);
        assert!(sent.ends_with("x\r\n1\r\nx\r\n0\r\n\r\n"));
    }

    #[test]
    fn names_of_attachments_are_harmless() {
        #[rustfmt::skip]
        let cases = [
            ("invoice.zip", "invoice.zip"),
            ("år 1/2.pdf", "%C3%A5r%201%2F2.pdf"),
            ("a HTTP/1.1\r\nX: y", "a%20HTTP%2F1.1%0D%0AX%3A%20y"),
            ("..", "attachment-3"),
            ("", "attachment-3"),
        ];
        for (name, url) in cases {
            let object = Object::attachment(Bytes::new(), 3, Some(name));
            assert_eq!(object.name, url, "{name:?}");
        }
        let long = format!("{}.exe", "n".repeat(5000));
        let object = Object::attachment(Bytes::new(), 1, Some(&long));
        assert!(object.name.len() == NAME && object.name.ends_with(".exe"));
        assert_eq!(
            Object::attachment(Bytes::new(), 1, None).name,
            "attachment-1"
        );
    }
}

//! What a browser asks for: a method and a path, and nothing else of it counts.

use std::io::{ErrorKind, Read};

/// Bytes of a request's head, at most.
const MOST: usize = 1 << 13;

/// A request, or the status that answers what is none.
pub type Request = Result<Asked, u16>;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whether the answer is without its body.
    pub head_only: bool,
    /// Decoded, without a query.
    pub path: String,
}

/// Reads a request's head. A body would belong to a method that is not answered, so none is read.
pub fn read(mut from: impl Read) -> std::io::Result<Request> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    loop {
        if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            return Ok(parse(&head[..end]));
        }
        if head.len() >= MOST {
            return Ok(Err(431));
        }
        match from.read(&mut piece) {
            Ok(0) => return Ok(Err(400)),
            Ok(bytes) => head.extend_from_slice(&piece[..bytes]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn parse(head: &[u8]) -> Request {
    let head = std::str::from_utf8(head).map_err(|_| 400u16)?;
    let line = head.lines().next().unwrap_or_default();
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = parts.as_slice() else {
        return Err(400);
    };
    if !version.starts_with("HTTP/1.") {
        return Err(400);
    }
    let head_only = match *method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(405),
    };
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = decoded(path)
        .filter(|path| path.starts_with('/'))
        .ok_or(400u16)?;
    Ok(Asked { head_only, path })
}

/// Text with `%41` in place of `A`; `None` where that is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut found = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        found.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(16 * digit()? + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(found).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(decoded("/a%20b%2520"), Some("/a b%20".into()));
        for wrong in ["%", "%4", "%zz", "%+1", "%ff"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_none(bytes: Vec<u8>) {
            if let Ok(asked) = read(&bytes[..]).unwrap() {
                prop_assert!(asked.path.starts_with('/'));
            }
        }
    }
}

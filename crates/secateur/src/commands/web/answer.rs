//! What the server says.

use super::files::Files;
use super::request::Request;
use std::io::{Read, Write};

/// Goes with every answer. The two `Cross-Origin` lines give the page a clock that ticks every 5 µs instead of every
/// 100, for the times of layers; the policy lets the page run nothing and ask for nothing but its own.
const ALWAYS: &str = "\
    Connection: close\r\n\
    Cache-Control: no-cache\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\n\
    Cross-Origin-Embedder-Policy: require-corp\r\n\
    Content-Security-Policy: default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' blob: data:; frame-ancestors 'none'\r\n";

/// Answers a request.
pub fn write(mut to: impl Write, request: Request, files: &Files) -> std::io::Result<()> {
    let found =
        request.and_then(|asked| Ok((files.find(&asked.path).ok_or(404u16)?, asked.head_only)));
    match found {
        Ok((served, head_only)) => {
            head(&mut to, 200, served.kind, served.bytes)?;
            if !head_only {
                // As long as was promised, whatever becomes of the file meanwhile.
                std::io::copy(&mut served.file.take(served.bytes), &mut to)?;
            }
        }
        Err(status) => {
            let body = format!("{status} {}\n", reason(status));
            head(
                &mut to,
                status,
                "text/plain; charset=utf-8",
                body.len() as u64,
            )?;
            to.write_all(body.as_bytes())?;
        }
    }
    to.flush()
}

fn head(to: &mut impl Write, status: u16, kind: &str, bytes: u64) -> std::io::Result<()> {
    let allow = if status == 405 {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let reason = reason(status);
    write!(
        to,
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {bytes}\r\n{allow}{ALWAYS}\r\n"
    )
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Request Header Fields Too Large",
    }
}

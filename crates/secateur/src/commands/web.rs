//! `secateur web`: serves the page on this machine.

mod answer;
mod files;
mod request;

use crate::args::Web;
use crate::interrupt;
use anyhow::{Context, Result, bail};
use files::Files;
use std::io::{Write, stdout};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Connections that are answered at a time; others wait their turn with the system.
const MOST: usize = 32;
/// Between two looks at whether somebody connects or wants the server to stop.
const LOOK: Duration = Duration::from_millis(5);
/// Longest that a peer may take to send, or to take, the next bytes.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn run(args: &Web) -> Result<()> {
    let files = Files::open(&folder(args)?)?;
    let listener = TcpListener::bind((args.host, args.port))
        .with_context(|| format!("{}:{}: cannot be listened on", args.host, args.port))?;
    let address = listener.local_addr()?;
    // A reader at the other end of a pipe waits for this line.
    let _ = writeln!(stdout(), "http://{address}/\nCtrl-C ends it");
    let _ = stdout().flush();
    listener.set_nonblocking(true)?;
    serve(&listener, files);
    Ok(())
}

/// Answers until the program is asked to stop, and then without waiting for whoever is still connected:
/// browsers keep connections that they may need.
fn serve(listener: &TcpListener, files: Files) {
    let files = Arc::new(files);
    let busy = Arc::new(());
    while !interrupt::asked() {
        // Every connection holds one; beyond those, an error is a peer that gave up, or nobody there.
        let free = Arc::strong_count(&busy) <= MOST;
        let Some((stream, _)) = free.then(|| listener.accept().ok()).flatten() else {
            std::thread::sleep(LOOK);
            continue;
        };
        let (files, busy) = (files.clone(), busy.clone());
        std::thread::spawn(move || {
            // Whoever went away needs no answer.
            let _ = talk(&stream, &files);
            drop(busy);
        });
    }
}

/// One request and its answer.
fn talk(stream: &TcpStream, files: &Files) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = request::read(stream)?;
    answer::write(stream, request, files)
}

/// The folder of the page: the one that is named, else where a build or a release puts it.
fn folder(args: &Web) -> Result<PathBuf> {
    if let Some(folder) = &args.dir {
        return Ok(folder.clone());
    }
    let beside = std::env::current_exe().ok();
    let beside = beside.as_deref().and_then(std::path::Path::parent);
    let candidates = [
        Some(PathBuf::from("web/dist")),
        beside.map(|b| b.join("web")),
    ];
    let mut candidates = candidates.into_iter().flatten();
    match candidates.find(|folder| files::is_page(folder)) {
        Some(folder) => Ok(folder),
        None => {
            bail!("web/dist: there is no page; web/build.sh builds it, --dir says where another is")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// The answer to what is sent.
    fn ask(files: &Files, sent: &[u8]) -> (String, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.write_all(sent).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let _ = talk(&stream, files);
        drop(stream);
        let mut answer = Vec::new();
        let _ = peer.read_to_end(&mut answer);
        let end = answer
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .unwrap_or(answer.len());
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        (head, answer.split_off((end + 4).min(answer.len())))
    }

    fn page() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("page");
        std::fs::create_dir_all(root.join("networks")).unwrap();
        std::fs::write(root.join("index.html"), "<p>").unwrap();
        std::fs::write(root.join("engine.wasm"), b"\0asm").unwrap();
        std::fs::write(root.join("networks/a b.sct"), "SCT").unwrap();
        std::fs::write(root.join(".hidden"), "secret").unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        let files = Files::open(&root).unwrap();
        (folder, files)
    }

    #[test]
    fn files_are_served_with_their_types() {
        let (_folder, files) = page();
        for (target, kind, body) in [
            ("/", "text/html; charset=utf-8", &b"<p>"[..]),
            ("/index.html?x=1", "text/html; charset=utf-8", b"<p>"),
            ("/engine.wasm", "application/wasm", b"\0asm"),
            ("/networks/a%20b.sct", "application/octet-stream", b"SCT"),
        ] {
            let (head, found) = ask(
                &files,
                format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
            );
            assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}");
            assert!(
                head.contains(&format!("Content-Type: {kind}\r\n")),
                "{head}"
            );
            assert!(
                head.contains(&format!("Content-Length: {}\r\n", body.len())),
                "{head}"
            );
            assert_eq!(found, body);
        }
        let (head, body) = ask(&files, b"HEAD / HTTP/1.1\r\n\r\n");
        assert!(
            head.contains("Content-Length: 3\r\n") && body.is_empty(),
            "{head}"
        );
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        let (_folder, files) = page();
        for target in [
            "/../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/networks/../../secret",
            "//secret",
            "/link",
            "/.hidden",
            "/networks",
            "/none",
            "/%00",
            "/%zz",
            "/..\\secret",
            "/c:/secret",
            "secret",
        ] {
            let (head, body) = ask(&files, format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes());
            let status = head.split(' ').nth(1).unwrap_or_default();
            assert!(["400", "404"].contains(&status), "{target}: {head}");
            assert!(!body.windows(6).any(|w| w == b"secret"), "{target}");
        }
    }

    #[test]
    fn what_is_no_request_has_an_answer() {
        let (_folder, files) = page();
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 16));
        for (sent, status) in [
            (&b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"[..], "405"),
            (b"GET /\r\n\r\n", "400"),
            (b"\xff\xfe\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\n", "400"),
            (long.as_bytes(), "431"),
        ] {
            let (head, _) = ask(&files, sent);
            // A peer that still sends when it is answered may see its connection reset instead.
            let reset = head.is_empty() && sent.len() > 1 << 13;
            assert!(
                reset || head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{head}"
            );
        }
    }

    #[test]
    fn a_folder_without_a_page_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = Files::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no page"), "{error}");
    }
}

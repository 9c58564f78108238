//! The one client that measures all peers: a GET over a connection of its own, timed from connecting to the last byte,
//! so many at once as asked.
//!
//! Whatever a connection costs, it costs all peers alike; the answers are kept, to be judged when nothing is timed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longer than any peer's own limit for one picture.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) target: String,
    /// Lines of the head, each with its end.
    pub(crate) headers: String,
}

pub(crate) struct Answer {
    pub(crate) ms: f64,
    pub(crate) ok: bool,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

pub(crate) fn get(address: SocketAddr, request: &Request) -> std::io::Result<Answer> {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let Request { target, headers } = request;
    let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw)?;
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)? + 4;
    let body = raw.split_off(end);
    let head = String::from_utf8_lossy(&raw).into_owned();
    let mut answer = Answer { ms, ok: head.starts_with("HTTP/1.1 200"), head, body };
    // A body of another length than announced, or in pieces, is not what was asked for.
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    answer.ok &= length == Some(answer.body.len());
    Ok(answer)
}

/// All of `requests`, `at_once` of them under way at any time; wall-clock seconds, and the answers in order.
pub(crate) fn all(address: SocketAddr, requests: &[Request], at_once: usize) -> (f64, Vec<Option<Answer>>) {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new((0..requests.len()).map(|_| None).collect::<Vec<_>>());
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(request) = requests.get(at) else { return };
            let answer = get(address, request).ok();
            answers.lock().expect("no thread panics")[at] = answer;
        }
    };
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(requests.len()) {
            scope.spawn(work);
        }
    });
    let wall = started.elapsed().as_secs_f64();
    (wall, answers.into_inner().expect("no thread panicked"))
}

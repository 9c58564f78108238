//! A loopback origin for the fetcher's tests: raw bytes out, requests recorded, one request a connection.
//!
//! It sends exactly what a test scripts, right or wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What is sent for one path.
#[derive(Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    /// Says no more, and keeps the connection open.
    Stall,
    /// One byte every few milliseconds, without end.
    Drip,
}

pub(super) struct Origin {
    pub(super) address: SocketAddr,
    heads: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Origin {
    /// Answers each request by `script`, which gets the path and the address of this origin.
    pub(super) async fn start(script: impl Fn(&str, SocketAddr) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, script) = (Arc::clone(&heads), Arc::new(script));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                tokio::spawn(async move { serve(stream, &seen, |path| script(path, address)).await });
            }
        });
        Self { address, heads, task }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The request heads so far, in lower case.
    pub(super) fn heads(&self) -> Vec<String> {
        self.raw_heads().iter().map(|head| String::from_utf8_lossy(head).to_lowercase()).collect()
    }

    /// The same as they came.
    pub(super) fn raw_heads(&self) -> Vec<Vec<u8>> {
        self.heads.lock().expect("no panic").clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Vec<u8>>>, script: impl Fn(&str) -> Vec<Step>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            // A TLS greeting, or a client that left.
            Err(_) => return,
        }
        if head.len() > 8 && !head.starts_with(b"GET ") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().expect("no panic").push(head);
    for step in script(&path) {
        let sent = match step {
            Step::Send(bytes) => stream.write_all(&bytes).await,
            Step::Stall => std::future::pending().await,
            Step::Drip => loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if let Err(error) = stream.write_all(b"x").await {
                    break Err(error);
                }
            },
        };
        if sent.is_err() {
            return;
        }
    }
    let _closed = stream.shutdown().await;
}

/// A response with its length, which closes the connection.
pub(super) fn reply(status: &str, fields: &str, body: &[u8]) -> Vec<Step> {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
    vec![Step::Send([head.as_bytes(), body].concat())]
}

/// A response as it is written here, without a length unless `head` has one.
pub(super) fn raw(head: &str, body: &[u8]) -> Vec<Step> {
    vec![Step::Send([head.replace('\n', "\r\n").as_bytes(), b"\r\n\r\n", body].concat())]
}

pub(super) fn redirect(status: u16, location: &str) -> Vec<Step> {
    reply(&format!("{status} Elsewhere"), &format!("Location: {location}\r\n"), b"")
}

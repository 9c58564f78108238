//! A scriptable origin on loopback: per path it can be slow, drip, stall, lie about its length, never end, redirect,
//! compress, close, or answer conditionally, and it records every request it receives.
//! Law: it speaks HTTP by hand, because a well-behaved server library would refuse to misbehave as required; a reply
//! can be held by a `Gate`, so that tests wait for events and not for time.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Holds replies back until it is opened; dropping it unopened closes the connections that wait.
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(watch::channel(false).0)
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }
}

#[derive(Clone, Copy)]
enum Framing {
    /// `Content-Length` as it is.
    Exact,
    /// `Content-Length` as given, whatever the body is; then close.
    Says(usize),
    Chunked,
    /// Chunked, the body again and again until the reader has had enough.
    Endless,
    /// No head at all.
    Closed,
}

/// What the origin does for one path.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Arc<[u8]>,
    framing: Framing,
    drip: Option<(usize, Duration)>,
    stall_after: Option<usize>,
    gate: Option<watch::Receiver<bool>>,
}

impl Reply {
    pub(crate) fn new(body: impl Into<Arc<[u8]>>, content_type: &str) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
            framing: Framing::Exact,
            drip: None,
            stall_after: None,
            gate: None,
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::new(*b"no picture here", "text/plain") }
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("location", location)
    }

    /// The connection is closed before a head is sent.
    pub(crate) fn closed() -> Self {
        Self { framing: Framing::Closed, ..Self::status(200) }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn says_length(mut self, length: usize) -> Self {
        self.framing = Framing::Says(length);
        self
    }

    pub(crate) fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    pub(crate) fn endless(mut self) -> Self {
        self.framing = Framing::Endless;
        self
    }

    /// Compresses the body and calls that so.
    pub(crate) fn gzip_as(mut self, name: &str) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&self.body).expect("gzip into memory");
        self.body = encoder.finish().expect("gzip into memory").into();
        self.header("content-encoding", name)
    }

    pub(crate) fn gzip(self) -> Self {
        self.gzip_as("gzip")
    }

    /// Sends so many bytes of the body at a time.
    pub(crate) fn drip(mut self, bytes: usize, every: Duration) -> Self {
        self.drip = Some((bytes, every));
        self
    }

    /// Sends the head and so many bytes of the body, then nothing, with the connection open.
    pub(crate) fn stall_after(mut self, bytes: usize) -> Self {
        self.stall_after = Some(bytes);
        self
    }

    /// Sends nothing, not even a head, until the gate opens.
    pub(crate) fn held(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.0.subscribe());
        self
    }

    fn says(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// RFC 9110, 13.2.2: `If-None-Match` decides alone when it is there.
    fn unchanged_for(&self, asked: &Received) -> bool {
        match (asked.header("if-none-match"), asked.header("if-modified-since")) {
            (Some(known), _) => self.says("etag").is_some_and(|tag| known.split(',').any(|one| one.trim() == tag)),
            (None, Some(since)) => self.says("last-modified") == Some(since),
            (None, None) => false,
        }
    }
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Whether it was answered 304.
    pub(crate) unchanged: bool,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    received: Vec<Received>,
    sent_bytes: u64,
}

/// The running origin; it stops with its handle.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state, accepting }
    }

    /// One origin with one picture at `/a.png` or wherever `path` says.
    pub(crate) async fn with(path: &str, body: impl Into<Arc<[u8]>>, content_type: &str) -> Self {
        let origin = Self::start().await;
        origin.set(path, Reply::new(body, content_type));
        origin
    }

    /// Scripts a path, or a path with its query when both are given; at any time.
    pub(crate) fn set(&self, target: &str, reply: Reply) {
        self.state.lock().expect("origin").replies.insert(target.to_owned(), reply);
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// Every request of a path (whatever its query), in order.
    pub(crate) fn received(&self, path: &str) -> Vec<Received> {
        let state = self.state.lock().expect("origin");
        state.received.iter().filter(|r| r.target.split('?').next() == Some(path)).cloned().collect()
    }

    pub(crate) fn hits(&self, path: &str) -> usize {
        self.received(path).len()
    }

    pub(crate) fn total_hits(&self) -> usize {
        self.state.lock().expect("origin").received.len()
    }

    /// Body bytes that were taken off its hands so far.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.state.lock().expect("origin").sent_bytes
    }

    /// Waits for the n-th request of a path.
    pub(crate) async fn wait_hits(&self, path: &str, n: usize) {
        eventually(&format!("{n} requests of {path}"), || self.hits(path) >= n).await;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Waits until something holds; fails after half a minute.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_left) => return,
        }
    }
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.trim_end().split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let mut received = Received {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        unchanged: false,
        body: Vec::new(),
    };
    let length = received.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    received.body = vec![0; length];
    if stream.read_exact(&mut received.body).await.is_err() {
        return;
    }
    let reply = {
        let mut state = state.lock().expect("origin");
        let path = received.target.split('?').next().unwrap_or_default();
        let scripted = state.replies.get(&received.target).or_else(|| state.replies.get(path)).cloned();
        let mut reply = scripted.unwrap_or_else(|| Reply::status(404));
        received.unchanged = reply.status == 200 && reply.unchanged_for(&received);
        if received.unchanged {
            reply.status = 304;
            reply.body = Arc::new([]);
        }
        state.received.push(received);
        reply
    };
    let _reader_left = answer(&mut stream, reply, &state).await;
}

async fn answer(stream: &mut TcpStream, mut reply: Reply, state: &Mutex<State>) -> std::io::Result<()> {
    if let Some(gate) = &mut reply.gate
        && gate.wait_for(|open| *open).await.is_err()
    {
        return Ok(());
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match reply.framing {
        Framing::Closed => return Ok(()),
        Framing::Exact => head.push_str(&format!("content-length: {}\r\n", reply.body.len())),
        Framing::Says(length) => head.push_str(&format!("content-length: {length}\r\n")),
        Framing::Chunked | Framing::Endless => head.push_str("transfer-encoding: chunked\r\n"),
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let chunked = matches!(reply.framing, Framing::Chunked | Framing::Endless);
    let (step, pause) = reply.drip.unwrap_or((64 * 1024, Duration::ZERO));
    let mut sent = 0;
    loop {
        for piece in reply.body.chunks(step) {
            let piece = &piece[..piece.len().min(reply.stall_after.unwrap_or(usize::MAX) - sent)];
            if chunked && !piece.is_empty() {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            }
            stream.write_all(piece).await?;
            if chunked && !piece.is_empty() {
                stream.write_all(b"\r\n").await?;
            }
            sent += piece.len();
            state.lock().expect("origin").sent_bytes += piece.len() as u64;
            if reply.stall_after == Some(sent) {
                // Nothing more, until the reader closes its side.
                while stream.read(&mut [0; 64]).await? > 0 {}
                return Ok(());
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        if !matches!(reply.framing, Framing::Endless) {
            break;
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.shutdown().await
}

/// An address whose connects hang: its accept queue is full and nobody accepts (Linux then drops the SYN).
/// The streams fill the queue and must be kept.
pub(crate) async fn deaf() -> (SocketAddr, tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("its address");
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        filling.push(stream);
        assert!(filling.len() < 64, "the accept queue does not fill");
    }
    (address, listener, filling)
}

//! How a service ends: not ready first, then closed, then finished; at once when it is told again. Law: a rolling restart
//! loses no request of a balancer that asks `/readyz`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::app::{App, Setup, image};
use crate::harness::client::request;
use crate::harness::origin::{Gate, Origin, Reply};
use crate::harness::pictures::jpeg;

/// Longer than any test may wait for the service.
const LONG: Duration = Duration::from_secs(10);

async fn status(to: SocketAddr, path: &str) -> Option<u16> {
    request(to, "GET", path, &[], b"").await.ok().map(|answer| answer.status)
}

/// Waits until both listeners say that they are not ready.
async fn until_draining(app: &App) {
    let asked = Instant::now();
    while status(app.public, "/readyz").await != Some(503) {
        assert!(asked.elapsed() < LONG, "{}", app.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(status(app.admin, "/readyz").await, Some(503));
}

#[tokio::test]
async fn after_sigterm_readyz_says_so_while_both_listeners_serve() {
    let origin = Origin::with("/a.jpg", jpeg(80, 40), "image/jpeg").await;
    let mut app = Setup::new().text("server.drain_delay", "1500ms").start().await;
    assert_eq!(status(app.public, "/readyz").await, Some(200));
    let told = Instant::now();
    app.terminate();
    until_draining(&app).await;
    assert_eq!(app.get("/readyz").await.json()["status"], "draining");
    // New connections are taken and new images made.
    assert_eq!(app.image(&origin.url("/a.jpg"), "w=64&f=webp").await.status, 200);
    assert_eq!(status(app.public, "/healthz").await, Some(200), "it lives");
    assert_eq!(app.exit_code().await, Some(0));
    let took = told.elapsed();
    assert!(took >= Duration::from_millis(1500) && took < LONG, "{took:?}");
}

/// The head of the next answer on a connection that is kept.
async fn head(connection: &mut TcpStream) -> String {
    connection.write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it is open");
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(connection.read_u8().await.expect("an answer"));
    }
    let head = String::from_utf8(read).expect("text").to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    connection.read_exact(&mut body).await.expect("the body");
    head
}

#[tokio::test]
async fn a_connection_that_was_kept_ends_with_its_next_answer() {
    let mut app = Setup::new().text("server.drain_delay", "1h").start().await;
    let mut kept = TcpStream::connect(app.public).await.expect("connected");
    for _ in 0..2 {
        assert!(!head(&mut kept).await.contains("connection: close"), "it is kept");
    }
    app.terminate();
    until_draining(&app).await;
    assert!(head(&mut kept).await.contains("connection: close"));
    assert_eq!(kept.read(&mut [0; 1]).await.expect("closed in order"), 0);
    app.terminate();
    assert_eq!(app.exit_code().await, Some(0));
}

#[tokio::test]
async fn sigint_waits_for_no_balancer() {
    let mut app = Setup::new().text("server.drain_delay", "1h").start().await;
    let told = Instant::now();
    app.signal(Signal::INT);
    assert_eq!(app.exit_code().await, Some(0));
    assert!(told.elapsed() < LONG, "{:?}", told.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_the_delay_and_the_grace() {
    let origin = Origin::start().await;
    let never = Gate::shut();
    origin.set("/a.jpg", Reply::new(jpeg(80, 40), "image/jpeg").held(&never));
    for (delay, second) in [("1h", Signal::TERM), ("1h", Signal::INT), ("0s", Signal::TERM), ("0s", Signal::INT)] {
        let mut app = Setup::new()
            .text("server.drain_delay", delay)
            .text("server.shutdown_grace", "1h")
            .text("sources.first_byte_timeout", "1h")
            .text("sources.timeout", "1h")
            .start()
            .await;
        let (public, target, before) = (app.public, image(&origin.url("/a.jpg"), "w=64"), origin.hits("/a.jpg"));
        let _abandoned = tokio::spawn(async move { request(public, "GET", &target, &[], b"").await });
        origin.wait_hits("/a.jpg", before + 1).await;
        app.terminate();
        let asked = Instant::now();
        while !app.log().contains("not ready any more") {
            assert!(asked.elapsed() < LONG, "{}", app.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let told = Instant::now();
        app.signal(second);
        assert_eq!(app.exit_code().await, Some(0), "{}", app.log());
        assert!(told.elapsed() < LONG, "{delay} {second:?}: {:?}", told.elapsed());
    }
}

/// A balancer as orchestrators have them: it asks every replica's `/readyz`, sends each request on a connection of its own
/// to one that was ready when last asked, and tries nothing twice.
struct Balancer {
    ready: Arc<Mutex<BTreeMap<SocketAddr, bool>>>,
    task: JoinHandle<()>,
}

/// Of 50 requests a second, ten come between two questions.
const ASKED_EVERY: Duration = Duration::from_millis(200);

impl Balancer {
    fn start() -> Self {
        let ready = Arc::new(Mutex::new(BTreeMap::<SocketAddr, bool>::new()));
        let replicas = Arc::clone(&ready);
        let task = tokio::spawn(async move {
            loop {
                let known: Vec<_> = replicas.lock().expect("no panic").keys().copied().collect();
                for replica in known {
                    let is = status(replica, "/readyz").await == Some(200);
                    replicas.lock().expect("no panic").entry(replica).and_modify(|ready| *ready = is);
                }
                tokio::time::sleep(ASKED_EVERY).await;
            }
        });
        Self { ready, task }
    }

    async fn add(&self, replica: SocketAddr) {
        self.ready.lock().expect("no panic").insert(replica, false);
        let asked = Instant::now();
        while !self.ready.lock().expect("no panic")[&replica] {
            assert!(asked.elapsed() < LONG, "never ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn remove(&self, replica: SocketAddr) {
        self.ready.lock().expect("no panic").remove(&replica);
    }

    fn pick(&self, n: usize) -> Option<SocketAddr> {
        let ready = self.ready.lock().expect("no panic");
        let up: Vec<_> = ready.iter().filter(|(_, ready)| **ready).map(|(replica, _)| *replica).collect();
        up.get(n % up.len().max(1)).copied()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_request() {
    let origin = Origin::with("/a.jpg", jpeg(80, 40), "image/jpeg").await;
    let replica = || Setup::new().text("server.drain_delay", "1s").start();
    let balancer = Arc::new(Balancer::start());
    let mut replicas = vec![replica().await, replica().await];
    for app in &replicas {
        balancer.add(app.public).await;
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (target, asking) = (image(&origin.url("/a.jpg"), "w=64&f=webp"), Arc::clone(&balancer));
    let load = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let mut asked = Vec::new();
        while !*stopped.borrow() {
            tick.tick().await;
            let (to, target) = (asking.pick(asked.len()), target.clone());
            asked.push(tokio::spawn(async move {
                let answer = request(to?, "GET", &target, &[], b"").await.ok()?;
                (answer.status == 200).then_some(())
            }));
        }
        asked
    });
    for _ in 0..2 {
        let mut old = replicas.remove(0);
        old.terminate();
        assert_eq!(old.exit_code().await, Some(0), "{}", old.log());
        balancer.remove(old.public);
        let new = replica().await;
        balancer.add(new.public).await;
        replicas.push(new);
    }
    stop.send(true).expect("somebody asks");
    let asked = load.await.expect("no panic");
    let sent = asked.len();
    let answered = futures_util::future::join_all(asked).await;
    let lost = answered.iter().filter(|answer| !matches!(answer, Ok(Some(())))).count();
    assert!(sent > 50, "{sent} requests");
    assert_eq!(lost, 0, "of {sent}");
    balancer.task.abort();
}

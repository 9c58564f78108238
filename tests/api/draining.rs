//! How a service ends: not ready first, then closed, then finished; at once when it is told again. Law: a rolling restart
//! loses no request of a balancer that asks `/readyz`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

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
    // New connections are taken and new pictures made; no connection is kept for later.
    let answer = app.image(&origin.url("/a.jpg"), "w=64&f=webp").await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(status(app.public, "/healthz").await, Some(200), "it lives");
    assert_eq!(app.exit_code().await, Some(0));
    let took = told.elapsed();
    assert!(took >= Duration::from_millis(1500) && took < LONG, "{took:?}");
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

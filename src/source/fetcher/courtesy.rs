//! How the fetcher deals with origins beside the bodies: what a failure says, validators, kept connections.
//!
//! Nothing here asks the network or the system for a name.

use std::sync::atomic::Ordering;

use super::origin::{Origin, Step, redirect, reply};
use super::setup::{Setup, settings};
use super::*;

#[tokio::test]
async fn a_failure_says_where_it_was_and_when_to_ask_again() {
    let origin = Origin::start(|path, _| match path {
        "/moved?token=1" => redirect(302, "/login?token=2"),
        "/out" => redirect(302, "http://other.test/a.jpg?token=3"),
        "/busy" => reply("429 Too Many Requests", "Retry-After: 7\r\n", b""),
        "/date" => reply("503 Service Unavailable", "Retry-After: Tue, 15 Nov 1994 08:00:00 GMT\r\n", b""),
        "/endless" => reply("503 Service Unavailable", "Retry-After: 9999999999\r\n", b""),
        _ => reply("404 Not Found", "", b""),
    })
    .await;
    let setup = Setup::new(&settings());
    let failed = setup.failed(&origin.url("/moved?token=1")).await;
    assert_eq!(failed.redirected_to, Some(Loggable::text(&origin.url("/login"))));
    assert!(!failed.to_string().contains("token"), "{failed}");
    let failed = setup.failed(&origin.url("/out")).await;
    assert_eq!(failed.redirected_to, Some(Loggable::text("http://other.test/a.jpg")), "what was not followed");
    assert_eq!(setup.failed(&origin.url("/gone")).await.redirected_to, None);
    let wait = async |path: &str| {
        let at = setup.failed(&origin.url(path)).await.retry_at;
        at.map(|at| at.saturating_duration_since(std::time::Instant::now()))
    };
    let busy = wait("/busy").await.expect("a time");
    assert!(busy > Duration::from_secs(3) && busy <= Duration::from_secs(7), "{busy:?}");
    assert_eq!(wait("/date").await, None, "it is past");
    assert!(wait("/endless").await.expect("a time") <= MAX_RETRY);
}

#[tokio::test]
async fn validators_are_given_back_byte_for_byte_and_long_ones_not_at_all() {
    let origin = Origin::start(|path, _| {
        let tag = if path == "/long" { vec![b'a'; 2_000] } else { b"\"\xe8\xb0\xad\xff\"".to_vec() };
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nETag: ".as_slice();
        vec![Step::Send([head, &tag, b"\r\n\r\npicture"].concat())]
    })
    .await;
    let setup = Setup::new(&settings());
    let download = setup.get(&origin.url("/a")).await.expect("an image");
    setup.ask(&origin.url("/a"), Some(&download.validators)).await.expect("an image");
    let raw = origin.raw_heads().remove(1);
    let sent = b"if-none-match: \"\xe8\xb0\xad\xff\"\r\n";
    assert!(raw.windows(sent.len()).any(|window| window == sent), "{}", String::from_utf8_lossy(&raw));
    assert!(setup.get(&origin.url("/long")).await.expect("an image").validators.is_empty());
}

/// Answers the first request of each connection and closes it at the second, as an origin does whose patience with a
/// kept connection ends just then.
async fn impatient() -> (std::net::SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let requests = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut chunk = [0; 4096];
                let closes = |chunk: &[u8]| chunk.starts_with(b"GET /never");
                for served in 0.. {
                    let Ok(read @ 1..) = stream.read(&mut chunk).await else { return };
                    count.fetch_add(1, Ordering::SeqCst);
                    if served > 0 || closes(&chunk[..read]) {
                        return;
                    }
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, requests)
}

#[tokio::test]
async fn a_kept_connection_that_ends_as_it_is_used_is_tried_once_more() {
    let (address, requests) = impatient().await;
    let setup = Setup::new(&settings());
    for at in 0..10 {
        assert!(setup.get(&format!("http://{address}/{at}")).await.is_ok(), "{at}");
    }
    assert!(requests.load(Ordering::SeqCst) > 10, "no connection was kept");
    // One more, not one after another.
    let before = requests.load(Ordering::SeqCst);
    assert_eq!(setup.fails(&format!("http://{address}/never")).await, Error::Interrupted);
    assert!(requests.load(Ordering::SeqCst) <= before + 2);
    let (fresh, requests) = impatient().await;
    assert_eq!(setup.fails(&format!("http://{fresh}/never")).await, Error::Interrupted);
    assert_eq!(requests.load(Ordering::SeqCst), 1, "of a host that was never asked no connection is kept");
}

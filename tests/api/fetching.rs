//! Getting the bytes (threat-model.md, fetching; nextjs-contract.md 1.3): the byte cap in every framing, the four deadlines, broken
//! and unreachable origins, compressed bodies. Law: a deadline is asserted from both sides: it fires, and it fires
//! long before the ones that are set higher; the cap is inclusive.

use std::time::{Duration, Instant};

use crate::harness::app::{App, Setup};
use crate::harness::code;
use crate::harness::origin::{Gate, Origin, Reply, deaf};
use crate::harness::pictures::{jpeg, png};

const UPSTREAM: &str = r#""url" parameter is valid but upstream response is invalid"#;
const TIMED_OUT: &str = r#""url" parameter is valid but upstream response timed out"#;

/// A decodable picture of exactly so many bytes (a JPEG may be followed by anything).
fn padded(bytes: usize) -> Vec<u8> {
    let mut file = jpeg(80, 40);
    assert!(file.len() < bytes);
    file.resize(bytes, 0);
    file
}

#[tokio::test]
async fn the_byte_cap_is_inclusive_in_every_framing() {
    let origin = Origin::start().await;
    let app = Setup::new().text("sources.max_bytes", "20kB").start().await;
    for name in ["plain", "chunked", "gzip"] {
        let form = |reply: Reply| match name {
            "chunked" => reply.chunked(),
            "gzip" => reply.gzip(),
            _ => reply,
        };
        let (fits, over) = (format!("/{name}/fits"), format!("/{name}/over"));
        origin.set(&fits, form(Reply::new(padded(20_000), "image/jpeg")));
        origin.set(&over, form(Reply::new(padded(20_001), "image/jpeg")));
        assert_eq!(app.next(&origin.url(&fits), 64, 75).await.look().size(), (64, 32), "{name}");
        app.next(&origin.url(&over), 64, 75).await.plain(413, UPSTREAM);
        app.image(&origin.url(&over), "w=64").await.problem(413, code::SOURCE_TOO_LARGE);
    }
}

#[tokio::test]
async fn endless_bodies_and_bombs_are_cut_off() {
    let origin = Origin::start().await;
    let app = Setup::new().text("sources.max_bytes", "1MB").start().await;
    let before = app.resident_bytes();
    origin.set("/endless", Reply::new(vec![0xAA; 65_536], "image/jpeg").endless());
    app.next(&origin.url("/endless"), 64, 75).await.plain(413, UPSTREAM);
    assert!(origin.sent_bytes() < 20_000_000, "read on after the cap: {}", origin.sent_bytes());
    // 200 MB of zeros in about 200 kB.
    origin.set("/bomb", Reply::new(vec![0; 200_000_000], "image/png").gzip());
    app.next(&origin.url("/bomb"), 64, 75).await.plain(413, UPSTREAM);
    // A small first body that says it is huge is refused on its word, or when it ends early.
    origin.set("/boast", Reply::new(jpeg(80, 40), "image/jpeg").says_length(9_000_000_000));
    app.next(&origin.url("/boast"), 64, 75).await.plain(413, UPSTREAM);
    assert!(app.resident_bytes() < before + 60_000_000, "{} -> {}", before, app.resident_bytes());
}

#[tokio::test]
async fn broken_bodies_are_errors_and_never_pictures() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    let file = jpeg(800, 400);
    // Content-Length promises more than comes: not a whole picture.
    origin.set("/truncated", Reply::new(file.clone(), "image/jpeg").says_length(file.len() + 100));
    // It promises less: what was announced is all there is, and that is half a picture.
    origin.set("/short", Reply::new(file.clone(), "image/jpeg").says_length(file.len() / 2));
    origin.set("/not-gzip", Reply::new(file, "image/jpeg").header("content-encoding", "gzip"));
    origin.set("/unknown", Reply::new(jpeg(80, 40), "image/jpeg").header("content-encoding", "zstd"));
    for path in ["/truncated", "/short", "/not-gzip", "/unknown"] {
        let answer = app.next(&origin.url(path), 64, 75).await;
        assert!((400..=504).contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.must("cache-control"), "no-store", "{path}");
    }
    origin.set("/empty", Reply::new(*b"", "image/jpeg"));
    app.image(&origin.url("/empty"), "w=64").await.problem(422, code::SOURCE_EMPTY);
    assert!(app.lives().await);
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    origin.set("/a.png", Reply::new(png(300, 150), "image/png").gzip());
    assert_eq!(app.next(&origin.url("/a.png"), 64, 75).await.look().size(), (64, 32));
    // What uploaders type into a storage's field for it is no coding, and the bytes are a picture.
    for (at, said) in
        ["UTF-8", "none", "binary", "base64", "undefined", "", "aws-chunked", "image/jpeg"].into_iter().enumerate()
    {
        let path = format!("/{at}.png");
        origin.set(&path, Reply::new(png(300, 150), "image/png").header("content-encoding", said));
        assert_eq!(app.image(&origin.url(&path), "w=64&f=png").await.look().size(), (64, 32), "{said}");
        assert_eq!(app.next(&origin.url(&path), 64, 75).await.status, 200, "{said}");
    }
    for (at, said) in ["GZIP", "x-gzip", "identity, gzip"].into_iter().enumerate() {
        let path = format!("/gzip-{at}.png");
        origin.set(&path, Reply::new(png(300, 150), "image/png").gzip_as(said));
        assert_eq!(app.image(&origin.url(&path), "w=64&f=png").await.look().size(), (64, 32), "{said}");
    }
}

#[tokio::test]
async fn unreachable_origins_are_502() {
    let app = Setup::guarded().set("sources.allow_local_ip", true).start().await;
    // A port that was free a moment ago refuses; a label beyond 63 bytes cannot be in the DNS (RFC 1035).
    let dead = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("its address")
    };
    let origin = Origin::start().await;
    origin.set("/closed", Reply::closed());
    for (url, code) in [
        (format!("http://{dead}/a.png"), code::SOURCE_UNREACHABLE),
        (format!("http://{}.example/a.png", "a".repeat(64)), code::SOURCE_UNREACHABLE),
        (origin.url("/closed"), "origin_interrupted"),
    ] {
        let answer = app.next(&url, 64, 75).await;
        assert_eq!((answer.status, answer.must("cache-control")), (502, "no-store"), "{url}: {}", answer.text());
        app.image(&url, "w=64").await.problem(502, code);
    }
}

#[tokio::test]
async fn origin_errors_on_the_direct_form() {
    let origin = Origin::start().await;
    let app = Setup::new().start().await;
    for (status, answered, code) in [
        (404, 404, code::SOURCE_NOT_FOUND),
        (410, 410, code::SOURCE_NOT_FOUND),
        (403, 403, code::SOURCE_FAILED),
        (500, 502, code::SOURCE_FAILED),
        (503, 502, code::SOURCE_FAILED),
        (304, 502, code::SOURCE_FAILED),
    ] {
        let path = format!("/{status}");
        origin.set(&path, Reply::status(status));
        app.image(&origin.url(&path), "w=64").await.problem(answered, code);
    }
}

/// One deadline is short, the others are far away: the answer must come soon, and be 504.
async fn times_out(app: &App, url: &str) {
    let started = Instant::now();
    app.next(url, 64, 75).await.plain(504, TIMED_OUT);
    let took = started.elapsed();
    assert!(took > Duration::from_millis(250) && took < Duration::from_secs(8), "{took:?}");
    let answer = app.image(&url.replace("/slow", "/slow2"), "w=64").await;
    answer.problem(504, code::SOURCE_TIMEOUT);
}

fn patient() -> Setup {
    Setup::new()
        .text("sources.connect_timeout", "20s")
        .text("sources.first_byte_timeout", "20s")
        .text("sources.idle_timeout", "20s")
        .text("sources.timeout", "30s")
}

#[tokio::test]
async fn the_connect_deadline() {
    let (address, _listener, _filling) = deaf().await;
    let app = patient().text("sources.connect_timeout", "300ms").start().await;
    times_out(&app, &format!("http://{address}/slow")).await;
}

#[tokio::test]
async fn the_first_byte_deadline() {
    let origin = Origin::start().await;
    let never = Gate::shut();
    for path in ["/slow", "/slow2"] {
        origin.set(path, Reply::new(jpeg(80, 40), "image/jpeg").held(&never));
    }
    let app = patient().text("sources.first_byte_timeout", "300ms").start().await;
    times_out(&app, &origin.url("/slow")).await;
}

#[tokio::test]
async fn the_idle_deadline() {
    let origin = Origin::start().await;
    for path in ["/slow", "/slow2"] {
        origin.set(path, Reply::new(jpeg(80, 40), "image/jpeg").stall_after(100));
    }
    let app = patient().text("sources.idle_timeout", "300ms").start().await;
    times_out(&app, &origin.url("/slow")).await;
    // A body that keeps coming is not idle, however long the whole takes.
    let file = jpeg(80, 40);
    let step = file.len().div_ceil(12);
    origin.set("/steady", Reply::new(file, "image/jpeg").drip(step, Duration::from_millis(60)));
    let started = Instant::now();
    assert_eq!(app.next(&origin.url("/steady"), 64, 75).await.look().width, 64);
    assert!(started.elapsed() > Duration::from_millis(600), "the drip did not drip");
}

#[tokio::test]
async fn the_total_deadline() {
    let origin = Origin::start().await;
    for path in ["/slow", "/slow2"] {
        origin.set(path, Reply::new(padded(50_000), "image/jpeg").drip(10, Duration::from_millis(50)));
    }
    let app = Setup::new()
        .text("sources.connect_timeout", "700ms")
        .text("sources.first_byte_timeout", "700ms")
        .text("sources.idle_timeout", "700ms")
        .text("sources.timeout", "800ms")
        .start()
        .await;
    times_out(&app, &origin.url("/slow")).await;
}

#[tokio::test]
async fn a_slow_origin_holds_no_worker() {
    let origin = Origin::with("/fast.png", png(100, 50), "image/png").await;
    let gate = Gate::shut();
    let app = std::sync::Arc::new(
        patient().set("limits.render_threads", 1).set("limits.queue", 1).set("sources.per_host", 32).start().await,
    );
    let mut waiting = Vec::new();
    for n in 0..20 {
        let path = format!("/held/{n}");
        origin.set(&path, Reply::new(png(100, 50), "image/png").held(&gate));
        let (app, url) = (std::sync::Arc::clone(&app), origin.url(&path));
        waiting.push(tokio::spawn(async move { app.next(&url, 64, 75).await.status }));
        origin.wait_hits(&path, 1).await;
    }
    assert_eq!(app.next(&origin.url("/fast.png"), 64, 75).await.look().width, 64);
    gate.open();
    for waiting in waiting {
        let status = waiting.await.expect("no panic");
        assert!(status == 200 || status == 503, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_trusts_ends_the_fetch_before_the_request() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a server");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut session = rustls::ServerConnection::new(std::sync::Arc::new(config)).expect("a session");
        // Ends with the client's alert; a request, had it come, could be read behind it.
        let handshake = session.complete_io(&mut stream);
        let mut request = Vec::new();
        let _nothing = std::io::Read::read_to_end(&mut session.reader(), &mut request);
        (handshake.is_err(), request)
    });
    let app = Setup::new().start().await;
    app.image(&format!("https://{address}/a.jpg"), "w=64").await.problem(502, code::SOURCE_UNREACHABLE);
    let (refused, request) = server.join().expect("the server ended");
    assert!(refused && request.is_empty(), "{request:?}");
}

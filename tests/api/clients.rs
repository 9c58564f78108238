//! What one client may have: connections, work that is not in the cache, a list of placeholders; and who a client is.
//! Law: several clients are several addresses of 127.0.0.0/8, or what a trusted proxy says.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::app::{App, Setup, image};
use crate::harness::client::{enc, request};
use crate::harness::origin::{Gate, Origin, Reply};
use crate::harness::pictures::png;

/// A connection from 127.0.0.`client`.
async fn connect(app: &App, client: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, client], 0).into()).expect("all of 127.0.0.0/8 is ours");
    socket.connect(app.public).await.expect("a connection")
}

/// Sends a request and keeps the connection; the status, or nothing when it was closed.
async fn ask(stream: &mut TcpStream, target: &str) -> Option<u16> {
    let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut line = [0; 12];
    let answer = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut line)).await;
    answer.expect("an answer, or the end").ok()?;
    // The rest may stay where it is: each connection is asked once.
    std::str::from_utf8(&line[9..]).ok()?.parse().ok()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_millis(500), stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn a_client_who_keeps_connections_gives_up_his_own_oldest_ones() {
    let app = Setup::new().set("limits.connections_per_client", 4).start().await;
    let mut others = [connect(&app, 2).await, connect(&app, 2).await];
    let mut kept = Vec::new();
    for _ in 0..10 {
        let mut stream = connect(&app, 3).await;
        assert_eq!(ask(&mut stream, "/healthz").await, Some(200), "the newest is served");
        kept.push(stream);
    }
    for stream in &mut kept[..6] {
        assert!(is_closed(stream).await);
    }
    for stream in &mut kept[6..] {
        assert!(!is_closed(stream).await);
    }
    for stream in &mut others {
        assert_eq!(ask(stream, "/healthz").await, Some(200));
    }
}

#[tokio::test]
async fn more_connections_than_there_are_descriptors_keep_nobody_out() {
    let origin = Origin::with("/a.png", png(64, 32), "image/png").await;
    let app = Setup::new().descriptors(256).start().await;
    let mut kept = Vec::new();
    for n in 0..400_u32 {
        let mut stream = connect(&app, 2 + (n % 20) as u8).await;
        assert_eq!(ask(&mut stream, "/healthz").await, Some(200), "connection {n}");
        kept.push(stream);
        if n % 50 == 49 {
            let began = Instant::now();
            app.image(
                &origin.url("/a.png"),
                &format!("w={}&f=png", [16, 32, 48, 64, 96, 128, 256, 384][n as usize / 50]),
            )
            .await
            .look();
            assert_eq!(app.admin("/metrics", &[]).await.status, 200);
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        }
    }
    assert!(!app.log().contains("Too many open files"), "{}", app.log());
}

#[tokio::test]
async fn a_client_has_so_much_at_work_and_hits_besides() {
    let origin = Origin::start().await;
    for name in ["/a.png", "/b.png", "/hit.png"] {
        origin.set(name, Reply::new(png(64, 32), "image/png"));
    }
    let setup = || Setup::new().set("limits.per_client", 1).text("log.level", "info");
    let trusting = setup().set("server.trusted_proxies", r#"["127.0.0.0/8"]"#).start().await;
    let plain = setup().start().await;
    for app in [&trusting, &plain] {
        let gate = Gate::shut();
        origin.set("/held.png", Reply::new(png(8, 8), "image/png").held(&gate));
        app.image(&origin.url("/hit.png"), "w=16&f=png").await.look();
        app.get(&format!("/placeholder?url={}", enc(&origin.url("/hit.png")))).await.json();
        let held = image(&origin.url("/held.png"), "w=16&f=png");
        let (public, at) = (app.public, origin.hits("/held.png"));
        let one = [("x-forwarded-for", "198.51.100.7, 203.0.113.1")];
        let holder = tokio::spawn(async move { request(public, "GET", &held, &one, b"").await.expect("an answer") });
        origin.wait_hits("/held.png", at + 1).await;
        let cold = image(&origin.url("/a.png"), "w=16&f=png");
        let refused = app.get_with(&cold, &one).await;
        refused.problem(429, "too_many_requests");
        assert_eq!(refused.must("retry-after"), "1");
        let batch = format!(r#"{{"urls":["{}"]}}"#, origin.url("/a.png"));
        let list = request(app.public, "POST", "/placeholders", &one, batch.as_bytes()).await.expect("an answer");
        assert_eq!(list.json()[0]["code"], "too_many_requests");
        let known = app.get_with(&format!("/placeholder?url={}", enc(&origin.url("/hit.png"))), &one).await;
        assert_eq!((known.status, known.must("cache-status")), (200, "pixgate; hit; detail=memory"));
        let hit = app.get_with(&image(&origin.url("/hit.png"), "w=16&f=png"), &one).await;
        assert_eq!((hit.status, hit.must("cache-status")), (200, "pixgate; hit; detail=memory"));
        let other =
            app.get_with(&image(&origin.url("/b.png"), "w=16&f=png"), &[("x-forwarded-for", "203.0.113.2")]).await;
        let trusts = std::ptr::eq(app, &raw const trusting);
        assert_eq!(other.status, if trusts { 200 } else { 429 }, "a header that anybody can write");
        assert_eq!(app.log().contains("client=203.0.113.1"), trusts, "{}", app.log());
        gate.open();
        assert_eq!(holder.await.expect("no panic").status, 200);
        app.get_with(&cold, &one).await.look();
    }
}

#[tokio::test]
async fn the_first_placeholders_of_a_list_do_not_wait_for_the_last() {
    let origin = Origin::with("/a.png", png(64, 32), "image/png").await;
    let gate = Gate::shut();
    origin.set("/held.png", Reply::new(png(8, 8), "image/png").held(&gate));
    let app = Setup::new().start().await;
    let urls = format!(r#"{{"urls":["{0}/a.png","{0}/none.png","{0}/held.png","{0}/a.png"]}}"#, origin.url(""));
    let mut stream = TcpStream::connect(app.public).await.expect("a connection");
    let head = format!(
        "POST /placeholders HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{urls}",
        urls.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut had = String::new();
    while !(had.contains("blurDataURL") && had.contains("origin_status")) {
        let mut piece = [0; 4_096];
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut piece)).await;
        let read = read.expect("two answers before the third is there").expect("open");
        assert!(read > 0, "{had}");
        had.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    assert_eq!(had.matches("blurDataURL").count(), 1, "the last stands after the third");
    gate.open();
    stream.read_to_string(&mut had).await.expect("the rest");
    assert_eq!(had.matches("blurDataURL").count(), 3, "{had}");
    let list = request(app.public, "POST", "/placeholders", &[], urls.as_bytes()).await.expect("an answer").json();
    let sizes: Vec<_> = list.as_array().expect("a list").iter().map(|one| one["width"].as_u64()).collect();
    assert_eq!(sizes, [Some(64), None, Some(8), Some(64)]);
}

#[tokio::test]
async fn a_list_that_waits_for_its_origin_is_not_idle() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    origin.set("/held.png", Reply::new(png(8, 8), "image/png").held(&gate));
    let app = Setup::new().descriptors(256).text("sources.first_byte_timeout", "30s").text("sources.timeout", "30s");
    let app = app.start().await;
    let body = format!(r#"{{"urls":["{}"]}}"#, origin.url("/held.png"));
    let mut list = connect(&app, 2).await;
    let head = "POST /placeholders HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    list.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.expect("sent");
    origin.wait_hits("/held.png", 1).await;
    let mut kept = Vec::new();
    for n in 0..200_u32 {
        let mut stream = connect(&app, 3 + (n % 20) as u8).await;
        assert_eq!(ask(&mut stream, "/healthz").await, Some(200));
        kept.push(stream);
    }
    gate.open();
    let mut answer = String::new();
    list.read_to_string(&mut answer).await.expect("the whole answer");
    assert!(answer.contains("blurDataURL"), "{answer}");
}

#[tokio::test]
async fn who_cannot_take_pieces_gets_a_list_with_its_length() {
    let origin = Origin::with("/a.png", png(64, 32), "image/png").await;
    let app = Setup::new().start().await;
    let body = format!(r#"{{"urls":["{0}","{0}"]}}"#, origin.url("/a.png"));
    let mut stream = TcpStream::connect(app.public).await.expect("a connection");
    let head = format!("POST /placeholders HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, list) = answer.split_once("\r\n\r\n").expect("a head");
    let head = head.to_ascii_lowercase();
    assert!(head.contains(&format!("content-length: {}", list.len())) && !head.contains("chunked"), "{head}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(list).expect("JSON").as_array().map(Vec::len), Some(2));
}

/// As many selectors as elements, each looked for in each: minutes of work before anything is drawn.
fn endless_svg() -> String {
    let selectors: String = (0..20_000).map(|n| format!("g g rect.c{n}{{fill:red}}")).collect();
    let rects = "<g><g><rect class='x' width='1' height='1'/></g></g>".repeat(20_000);
    format!("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><style>{selectors}</style>{rects}</svg>")
}

#[tokio::test]
async fn work_that_cannot_be_stopped_does_not_hold_the_end_up() {
    let origin = Origin::with("/a.svg", endless_svg().into_bytes(), "image/svg+xml").await;
    let setup = Setup::new().set("images.allow_svg", true).text("server.shutdown_grace", "1s");
    let mut app = setup.text("server.drain_delay", "0s").start().await;
    let mut stream = connect(&app, 2).await;
    let target = format!("/placeholder?url={}", enc(&origin.url("/a.svg")));
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.expect("sent");
    origin.wait_hits("/a.svg", 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    app.terminate();
    assert_eq!(app.exit_code().await, Some(0), "{}", app.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

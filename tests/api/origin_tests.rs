//! The origin's own tests: each misbehaviour that the suites rely on is seen on the wire here.
//! Law: what a suite takes for granted about its scaffold is proven before the service is blamed.

use std::time::{Duration, Instant};

use crate::harness::client::request;
use crate::harness::origin::{Gate, Origin, Reply, deaf};
use crate::harness::pictures;

#[tokio::test]
async fn serves_counts_and_answers_conditionally() {
    let origin = Origin::start().await;
    origin.set("/a", Reply::new(*b"hello", "text/x").header("etag", "\"v1\""));
    let answer = request(origin.address, "GET", "/a?q=1", &[("cookie", "c=1")], b"").await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str(), answer.must("content-type")), (200, "hello", "text/x"));
    let again = request(origin.address, "GET", "/a", &[("if-none-match", "\"v1\"")], b"").await.expect("an answer");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let received = origin.received("/a");
    assert_eq!(received.len(), 2);
    assert_eq!((received[0].target.as_str(), received[0].header("cookie")), ("/a?q=1", Some("c=1")));
    assert!(received[1].unchanged && !received[0].unchanged);
    origin.set("/a", Reply::redirect(302, "/b"));
    let moved = request(origin.address, "GET", "/a", &[], b"").await.expect("an answer");
    assert_eq!((moved.status, moved.must("location")), (302, "/b"));
    assert_eq!(request(origin.address, "GET", "/none", &[], b"").await.expect("an answer").status, 404);
    assert_eq!(origin.total_hits(), 4);
}

#[tokio::test]
async fn chunks_compresses_and_drips() {
    let origin = Origin::start().await;
    origin.set("/c", Reply::new(*b"hello", "text/x").chunked().drip(2, Duration::from_millis(20)));
    let started = Instant::now();
    let answer = request(origin.address, "GET", "/c", &[], b"").await.expect("an answer");
    assert_eq!(answer.text(), "hello");
    assert!(started.elapsed() >= Duration::from_millis(60));
    origin.set("/z", Reply::new(vec![0; 1_000_000], "text/x").gzip());
    let answer = request(origin.address, "GET", "/z", &[], b"").await.expect("an answer");
    assert_eq!(answer.must("content-encoding"), "gzip");
    assert!(answer.body.len() < 10_000);
    assert_eq!(origin.sent_bytes(), 5 + answer.body.len() as u64);
}

#[tokio::test]
async fn holds_until_the_gate_opens_and_closes_when_told() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    origin.set("/h", Reply::new(*b"late", "text/x").held(&gate));
    let address = origin.address;
    let waiting = tokio::spawn(async move { request(address, "GET", "/h", &[], b"").await });
    origin.wait_hits("/h", 1).await;
    assert!(!waiting.is_finished());
    gate.open();
    assert_eq!(waiting.await.expect("no panic").expect("an answer").text(), "late");
    origin.set("/x", Reply::closed());
    assert!(request(origin.address, "GET", "/x", &[], b"").await.is_err());
}

#[tokio::test]
async fn lies_stalls_and_never_ends() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let origin = Origin::start().await;
    origin.set("/lie", Reply::new(*b"four", "text/x").says_length(400));
    origin.set("/stall", Reply::new(*b"four", "text/x").stall_after(2));
    origin.set("/endless", Reply::new(vec![7; 1024], "text/x").endless());
    let mut raw = Vec::new();
    let mut stream = tokio::net::TcpStream::connect(origin.address).await.expect("connects");
    stream.write_all(b"GET /lie HTTP/1.1\r\n\r\n").await.expect("sends");
    stream.read_to_end(&mut raw).await.expect("ends");
    assert!(raw.ends_with(b"content-length: 400\r\n\r\nfour"));
    let mut stream = tokio::net::TcpStream::connect(origin.address).await.expect("connects");
    stream.write_all(b"GET /stall HTTP/1.1\r\n\r\n").await.expect("sends");
    raw.clear();
    let end = tokio::time::timeout(Duration::from_millis(200), stream.read_to_end(&mut raw)).await;
    assert!(end.is_err() && raw.ends_with(b"\r\n\r\nfo"));
    let mut stream = tokio::net::TcpStream::connect(origin.address).await.expect("connects");
    stream.write_all(b"GET /endless HTTP/1.1\r\n\r\n").await.expect("sends");
    let mut block = vec![0; 300_000];
    stream.read_exact(&mut block).await.expect("more than the body, again and again");
}

#[tokio::test]
async fn a_deaf_address_lets_a_connect_hang() {
    let (address, _listener, filling) = deaf().await;
    assert!(!filling.is_empty());
    let connect = tokio::net::TcpStream::connect(address);
    assert!(tokio::time::timeout(Duration::from_millis(200), connect).await.is_err());
}

#[test]
fn the_pictures_are_what_they_claim() {
    use image::ImageFormat::{Bmp, Gif, Ico, Jpeg, Png, Tiff, WebP};
    for (format, mime) in [(Jpeg, "image/jpeg"), (Png, "image/png"), (Gif, "image/gif"), (WebP, "image/webp")] {
        let seen = pictures::look(&pictures::encoded(&pictures::quadrants(40, 30), format));
        assert_eq!((seen.mime, seen.size()), (mime, (40, 30)));
    }
    for (format, magic) in [(Bmp, &b"BM"[..]), (Tiff, b"II*\0"), (Ico, b"\0\0\x01\0")] {
        assert!(pictures::encoded(&pictures::quadrants(200, 100), format).starts_with(magic), "{format:?}");
    }
    assert_eq!(pictures::webp_frames(&pictures::animated_webp(20, 10, 4)), 4);
    assert_eq!(pictures::webp_frames(&pictures::encoded(&pictures::quadrants(8, 8), WebP)), 0);
    assert_eq!(pictures::look(&pictures::animated_gif(20, 10, 4)).size(), (20, 10));
    assert_eq!(pictures::look(&pictures::oriented(&pictures::jpeg(20, 10), 6)).size(), (20, 10));
    let bomb = pictures::png_header_only(60_000, 50_000);
    let size = image::ImageReader::with_format(std::io::Cursor::new(&bomb), Png).into_dimensions();
    assert_eq!(size.expect("a valid header"), (60_000, 50_000));
    let frames = pictures::gif_frame_bomb(9_000, 9_000, 300);
    assert_eq!(&frames[6..10], &[0x28, 0x23, 0x28, 0x23]);
    assert!(frames.len() < 10_000);
}

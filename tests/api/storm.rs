//! Everything that a stranger may do at once, beside an honest client. Law: the honest client's images are right and in time,
//! hits are not disturbed, and the process takes no more memory than the documentation says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::app::{App, Setup, image};
use crate::harness::client::enc;
use crate::harness::origin::{Gate, Origin, Reply};
use crate::harness::pictures::{busy, encoded, look, png_header_only};

const MB: u64 = 1_000_000;
/// `cache.memory_bytes` + `limits.decode_memory` + 200 MB.
const FORMULA: u64 = (64 + 200 + 200) * MB;
/// How long each stranger goes on.
const STORM: Duration = Duration::from_secs(20);

/// Sends a request from an address of its own and does not wait for the answer; the connection is kept.
async fn send(app: &App, from: u8, head: &str, narrow: bool) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(format!("127.0.0.{from}:0").parse().ok()?).ok()?;
    if narrow {
        socket.set_recv_buffer_size(2_048).ok()?;
    }
    let mut stream = socket.connect(app.public).await.ok()?;
    stream.write_all(head.as_bytes()).await.ok()?;
    Some(stream)
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nAccept: image/avif,image/webp,*/*\r\n\r\n")
}

/// Sends requests one after the other until the storm is over, and reads what comes of each for a moment.
async fn stranger(app: Arc<App>, from: u8, over: Arc<AtomicBool>, mut next: impl FnMut(u32) -> String) -> u32 {
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        if let Some(mut stream) = send(&app, from, &next(count), false).await {
            let _gone = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 4096])).await;
        }
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_client_has_its_images_in_a_storm() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    origin.set("/header.png", Reply::new(png_header_only(30_000, 30_000), "image/png"));
    let deep = image::DynamicImage::ImageRgb16(busy(3000, 2600, 3).to_rgb16());
    origin.set("/deep.png", Reply::new(encoded(&deep, image::ImageFormat::Png), "image/png"));
    let tall = image::DynamicImage::ImageLuma8(busy(700, 9000, 4).to_luma8());
    origin.set("/tall.png", Reply::new(encoded(&tall, image::ImageFormat::Png), "image/png"));
    let large = encoded(&busy(1920, 1700, 3), image::ImageFormat::Png);
    origin.set("/large.png", Reply::new(large, "image/png"));
    let honest: Arc<[u8]> = encoded(&busy(640, 480, 5), image::ImageFormat::Jpeg).into();
    for n in 0..400_u32 {
        let bytes = [&honest[..], &n.to_be_bytes()].concat();
        origin.set(&format!("/honest/{n}.jpg"), Reply::new(bytes, "image/jpeg"));
    }
    for n in 0..3_000 {
        origin.set(&format!("/held/{n}"), Reply::new(&b"never"[..], "image/png").held(&gate));
    }
    let hosts = r#"["127.0.0.1", "localhost"]"#;
    let app = Setup::new().set("sources.domains", hosts).text("cache.memory_bytes", "64MB");
    let app = Arc::new(app.text("limits.decode_memory", "200MB").start().await);

    // The strangers' images are at another host than the honest one's.
    let bad = |path: &str| origin.url(path);
    let good = |n: u32| image(&origin.url(&format!("/honest/{n}.jpg")).replace("127.0.0.1", "localhost"), "w=384");
    let warm = good(399);
    let quiet = Instant::now();
    app.get(&warm).await.look();
    let quiet = quiet.elapsed();
    let shown = image(&bad("/large.png"), "w=1920&f=png");
    app.get(&shown).await.look();

    let over = Arc::new(AtomicBool::new(false));
    let (header, deep, tall) = (bad("/header.png"), bad("/deep.png"), bad("/tall.png"));
    let held: Vec<String> = (0..3_000).map(|n| bad(&format!("/held/{n}"))).collect();
    let mut strangers = Vec::new();
    let mut start = |from: u8, next: Box<dyn FnMut(u32) -> String + Send>| {
        strangers.push(tokio::spawn(stranger(Arc::clone(&app), from, Arc::clone(&over), next)));
    };
    let query = |n: u32| format!("%3Fn={n}");
    start(2, Box::new(move |n| get(&format!("/image?url={}{}&w=640", enc(&header), query(n)))));
    start(3, Box::new(move |n| get(&format!("/image?url={}{}&w=1080&f=avif", enc(&deep), query(n)))));
    start(4, Box::new(move |n| get(&format!("/image?url={}{}&w=3840&q=90&f=avif", enc(&tall), query(n)))));
    start(5, Box::new(move |n| get(&image(&held[n as usize % 3_000], "w=64"))));
    start(6, Box::new(|n| get(&format!("/image?url=http%3A%2F%2Fevil.test%2F{n}&w=64"))));
    start(
        7,
        Box::new(|_| {
            "POST /placeholders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
                .to_owned()
        }),
    );
    let mut readers = Vec::new();
    for _ in 0..200 {
        readers.extend(send(&app, 8, &get(&shown), true).await);
    }

    let began = Instant::now();
    let (mut right, mut wrong, mut slowest, mut peak) = (0, Vec::new(), Duration::ZERO, 0);
    let mut hits = Vec::new();
    for n in 0..300 {
        if began.elapsed() > STORM {
            break;
        }
        let asked = Instant::now();
        let answer = app.get(&good(n)).await;
        let took = asked.elapsed();
        slowest = slowest.max(took);
        if answer.status == 200 && look(&answer.body).size() == (384, 288) && took <= quiet * 2 + Duration::from_secs(1)
        {
            right += 1;
        } else {
            wrong.push((answer.status, took));
        }
        for _ in 0..3 {
            let asked = Instant::now();
            assert_eq!(app.get(&warm).await.must("cache-status"), "pixgate; hit; detail=memory");
            hits.push(asked.elapsed());
        }
        peak = peak.max(app.resident_bytes());
    }
    over.store(true, Ordering::Relaxed);
    let sent: u32 = futures_util::future::join_all(strangers).await.into_iter().map(|one| one.unwrap_or(0)).sum();
    gate.open();
    drop(readers);
    hits.sort_unstable();
    let p99 = hits[hits.len() * 99 / 100];
    let story = format!(
        "{right} right of {}, slowest {slowest:?}, hits p99 {p99:?}, {} MB, {sent} requests of strangers",
        right + wrong.len(),
        peak / MB
    );
    assert!(right >= 20 && wrong.len() * 100 <= right + wrong.len(), "{story}: {wrong:?}");
    // Both share two cores with everything here.
    assert!(p99 < Duration::from_millis(500), "{story}");
    assert!(peak <= FORMULA, "{story}");
}

//! What one client does costs no other an image: readers that do not read, documents that do not come, requests that come
//! back. Law: measured from outside, by the process's memory and by what an honest client gets meanwhile.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::app::{App, Setup, image};
use crate::harness::client::{enc, request};
use crate::harness::origin::{Gate, Origin, Reply};
use crate::harness::pictures::{busy, encoded, png, png_header_only};

const MB: f64 = 1_000_000.0;

fn resident(app: &App) -> f64 {
    app.resident_bytes() as f64 / MB
}

/// A connection that has asked for `target` and takes next to nothing of the answer.
async fn stalled(app: &App, target: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(2_048).expect("a small buffer");
    let mut stream = socket.connect(app.public).await.expect("a connection");
    let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("the request is sent");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_do_not_read_hold_no_copies() {
    let origin = Origin::with("/a.png", encoded(&busy(1920, 1700, 3), image::ImageFormat::Png), "image/png").await;
    let app = Setup::new().start().await;
    let target = image(&origin.url("/a.png"), "w=1920&f=png");
    let whole = app.get(&target).await;
    whole.look();
    assert!(whole.body.len() > 5_000_000, "{}", whole.body.len());
    assert_eq!(app.get(&target).await.must("cache-status"), "pixgate; hit; detail=memory");
    let before = resident(&app);
    let mut readers = Vec::new();
    for _ in 0..300 {
        readers.push(stalled(&app, &target).await);
    }
    for reader in &mut readers {
        // Each has its answer's head: the service has given out what it gives.
        reader.read_exact(&mut [0; 12]).await.expect("an answer");
    }
    let grown = resident(&app) - before;
    assert!(grown < 60.0, "{grown} MB for {} readers of {} MB", readers.len(), whole.body.len() as f64 / MB);
    assert_eq!(app.get(&target).await.body, whole.body, "others get it whole");
}

#[tokio::test]
async fn a_document_that_does_not_come_ends_its_request() {
    let app = Setup::new().start().await;
    for path in ["/placeholders", "/purge"] {
        let address = if path == "/purge" { app.admin } else { app.public };
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.expect("the request is sent");
        let started = Instant::now();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), async {
            while !answer.ends_with(b"}") {
                let mut part = [0; 4096];
                let count = stream.read(&mut part).await.expect("readable");
                assert!(count > 0, "closed without an answer");
                answer.extend_from_slice(&part[..count]);
            }
        });
        read.await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("document_late"), "{answer}");
        assert!(started.elapsed() >= Duration::from_secs(4), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn the_service_does_not_ask_itself() {
    let origin = Origin::with("/a.png", png(64, 32), "image/png").await;
    let app = Setup::new().start().await;
    let own = format!("http://{}/image?w=64&url={}", app.public, enc(&origin.url("/a.png")));
    app.image(&own, "w=64").await.problem(502, "origin_status");
    app.next(&own, 64, 75).await.plain(508, r#""url" parameter is valid but upstream response is invalid"#);
    assert_eq!(origin.hits("/a.png"), 0);
    app.image(&origin.url("/a.png"), "w=64").await.look();
    assert_eq!(origin.received("/a.png")[0].header("cdn-loop"), Some("pixgate"));

    for field in ["pixgate", "fastly, Pixgate; v=1", "a,pixgate"] {
        let fields = [("cdn-loop", field)];
        app.get_with(&image(&origin.url("/a.png"), "w=128"), &fields).await.problem(508, "loop_detected");
        let target = format!("/placeholder?url={}", enc(&origin.url("/b.png")));
        app.get_with(&target, &fields).await.problem(508, "loop_detected");
        let posted = request(app.public, "POST", "/placeholders", &fields, br#"{"urls":["/a"]}"#).await;
        posted.expect("an answer").problem(508, "loop_detected");
    }
    let other = [("cdn-loop", "cloudflare, pixgate-edge")];
    app.get_with(&image(&origin.url("/a.png"), "w=128"), &other).await.look();
}

/// A drawing that costs little when it is small and too much when it is large.
fn costly_drawing() -> Vec<u8> {
    let steps = "<feGaussianBlur stdDeviation='9'/>".repeat(600);
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='4000' height='4000'><filter id='f'>{steps}</filter>\
         <rect width='4000' height='4000' fill='#c33'/><rect filter='url(#f)' width='9' height='9'/></svg>"
    )
    .into_bytes()
}

#[tokio::test]
async fn a_variant_that_cannot_be_made_takes_no_other_away() {
    let origin = Origin::with("/a.svg", costly_drawing(), "image/svg+xml").await;
    let app = Setup::new().set("images.allow_svg", true).start().await;
    let url = origin.url("/a.svg");
    app.image(&url, "w=64&f=webp").await.look();
    for _ in 0..2 {
        let detail = app.image(&url, "w=3840&f=webp").await.problem(413, "image_too_large");
        assert!(detail.contains("a smaller one may be made"), "{detail}");
        assert_eq!(app.image(&url, "w=64&f=webp").await.must("cache-status"), "pixgate; hit; detail=memory");
    }
    app.image(&url, "w=128&f=webp").await.look();
    assert_eq!(origin.hits("/a.svg"), 1);
}

#[tokio::test]
async fn outputs_have_at_most_so_many_pixels() {
    let origin = Origin::with("/a.png", png(200, 400), "image/png").await;
    let app = Setup::new().set("limits.max_output_pixels", 10_000).start().await;
    let url = origin.url("/a.png");
    for (rest, size) in [
        ("w=48&f=png", (48, 96)),
        ("w=128&f=png", (70, 141)),
        ("w=128&f=avif", (70, 141)),
        ("w=128&h=128&fit=cover&f=webp", (100, 100)),
    ] {
        assert_eq!(app.image(&url, rest).await.look().size(), size, "{rest}");
    }
}

#[tokio::test]
async fn what_alone_takes_more_than_there_is_is_refused_from_its_header() {
    let origin = Origin::with("/huge.png", png_header_only(8_000, 8_000), "image/png").await;
    origin.set("/a.png", Reply::new(png(64, 32), "image/png"));
    let app = Setup::new().text("limits.decode_memory", "100MB").start().await;
    for _ in 0..2 {
        let started = Instant::now();
        let detail = app.image(&origin.url("/huge.png"), "w=64").await.problem(413, "image_too_large");
        assert!(detail.contains("limits.decode_memory"), "{detail}");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
    app.image(&origin.url("/a.png"), "w=64").await.look();
}

#[tokio::test]
async fn avif_that_takes_too_much_memory_is_webp_where_the_client_leaves_the_choice() {
    let photograph = encoded(&busy(2400, 1600, 5), image::ImageFormat::Jpeg);
    let origin = Origin::with("/a.jpg", photograph, "image/jpeg").await;
    let app = Setup::new().text("limits.decode_memory", "100MB").start().await;
    let url = origin.url("/a.jpg");
    app.image(&url, "w=640&f=avif").await.look();
    let detail = app.image(&url, "w=1920&f=avif").await.problem(413, "image_too_large");
    assert!(detail.contains("limits.decode_memory") && detail.contains("a smaller one may be made"), "{detail}");
    let target = image(&url, "w=1920");
    for _ in 0..2 {
        let chosen = app.get_with(&target, &[("accept", "image/avif,image/webp,*/*")]).await;
        assert_eq!(chosen.look().mime, "image/webp");
        assert!(!chosen.must("cache-control").contains("max-age=60,"), "nothing better is to come");
    }
    assert_eq!(app.image(&url, "w=640&f=avif").await.must("cache-status"), "pixgate; hit; detail=memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_hangs_takes_its_own_turns_only() {
    let origin = Origin::with("/a.png", png(64, 32), "image/png").await;
    let gate = Gate::shut();
    let app = std::sync::Arc::new(Setup::new().set("sources.domains", r#"["127.0.0.1", "localhost"]"#).start().await);
    let mut waiting = Vec::new();
    for n in 0..40 {
        origin.set(&format!("/held/{n}"), Reply::new(png(8, 8), "image/png").held(&gate));
        let (app, url) = (std::sync::Arc::clone(&app), origin.url(&format!("/held/{n}")));
        waiting.push(tokio::spawn(async move { app.image(&url, "w=16").await.status }));
    }
    let asked = || (0..40).map(|n| origin.hits(&format!("/held/{n}"))).sum::<usize>();
    let started = Instant::now();
    while asked() < 8 {
        assert!(started.elapsed() < Duration::from_secs(10), "waited in vain for the host's turns");
        tokio::task::yield_now().await;
    }
    let other = origin.url("/a.png").replace("127.0.0.1", "localhost");
    let started = Instant::now();
    app.image(&other, "w=64").await.look();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(asked(), 8, "no more from one host at once");
    gate.open();
    for waiting in waiting {
        let status = waiting.await.expect("no panic");
        assert!(status == 200 || status == 503, "{status}");
    }
}

#[tokio::test]
async fn a_host_that_is_down_is_left_alone() {
    let app = Setup::new().start().await;
    // Held, and never listened at.
    let held = TcpSocket::new_v4().expect("a socket");
    held.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = held.local_addr().expect("bound");
    let url = |n: u32| format!("http://{address}/{n}.png");
    for n in 0..5 {
        app.image(&url(n), "w=64").await.problem(502, "origin_unreachable");
    }
    let fetches = app.metric("pixgate_origin_fetches_total").await;
    for n in 5..20 {
        let answer = app.image(&url(n), "w=64").await;
        answer.problem(502, "origin_unreachable");
        assert!(answer.header("retry-after").is_some(), "left alone");
    }
    assert_eq!(app.metric("pixgate_origin_fetches_total").await, fetches, "not asked again meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_waits_for_any_more_is_not_downloaded() {
    let origin = Origin::with("/a.png", png(64, 32), "image/png").await;
    let gate = Gate::shut();
    let app = Setup::new().set("sources.per_host", 2).start().await;
    let mut leavers = Vec::new();
    for n in 0..60 {
        origin.set(&format!("/held/{n}"), Reply::new(png(8, 8), "image/png").held(&gate));
        let mut leaver = TcpStream::connect(app.public).await.expect("a connection");
        let target = image(&origin.url(&format!("/held/{n}")), "w=16");
        leaver.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.expect("sent");
        leavers.push(leaver);
    }
    let asked = || (0..60).map(|n| origin.hits(&format!("/held/{n}"))).sum::<usize>();
    let started = Instant::now();
    while asked() < 2 {
        assert!(started.elapsed() < Duration::from_secs(10), "waited in vain for two downloads");
        tokio::task::yield_now().await;
    }
    drop(leavers);
    let started = Instant::now();
    while app.metric("pixgate_shed_total").await < 58.0 {
        assert!(started.elapsed() < Duration::from_secs(10), "waited in vain: the others are dropped");
    }
    gate.open();
    app.image(&origin.url("/a.png"), "w=64").await.look();
    assert_eq!(asked(), 2, "the others were dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hosts_many_renders_do_not_keep_anothers_waiting() {
    let origin = Origin::with("/a.png", png(64, 32), "image/png").await;
    let hosts = r#"["127.0.0.1", "localhost"]"#;
    // All of them may wait: what is refused at once would say nothing of turns.
    let app =
        Setup::new().set("sources.domains", hosts).set("limits.render_threads", 1).text("limits.queue_wait", "10m");
    // Nor does an origin of the test that gets no processor for seconds.
    let slow = ["sources.first_byte_timeout", "sources.idle_timeout", "sources.timeout", "limits.render_timeout"];
    let app = slow.into_iter().fold(app, |app, key| app.text(key, "10m"));
    let app = std::sync::Arc::new(app.start().await);
    let photograph: std::sync::Arc<[u8]> = encoded(&busy(1600, 1200, 9), image::ImageFormat::Jpeg).into();
    let mut many = Vec::new();
    for n in 0..40 {
        // Of other bytes each, after the end.
        let bytes = [&photograph[..], &[n as u8]].concat();
        origin.set(&format!("/{n}.jpg"), Reply::new(bytes, "image/jpeg"));
        let (app, url) = (std::sync::Arc::clone(&app), origin.url(&format!("/{n}.jpg")));
        many.push(tokio::spawn(async move { app.image(&url, "w=1080&f=avif").await.status }));
    }
    let started = Instant::now();
    while app.metric("pixgate_queue_depth").await < 5.0 {
        assert!(started.elapsed() < Duration::from_secs(10), "waited in vain for a queue");
    }
    let other = origin.url("/a.png").replace("127.0.0.1", "localhost");
    app.image(&other, "w=64").await.look();
    let left = many.iter().filter(|one| !one.is_finished()).count();
    assert!(left >= 10, "{left} of 40 were still to be done");
    for one in many {
        let status = one.await.expect("no panic");
        assert!([200, 503, 504].contains(&status), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joined_what_others_gave_up_has_it_all_the_same() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    origin.set("/held.png", Reply::new(png(8, 8), "image/png").held(&gate));
    let app = Setup::new().set("sources.per_host", 1).text("limits.queue_wait", "60s").start().await;
    let app = std::sync::Arc::new(app);
    let (holder, held) = (std::sync::Arc::clone(&app), origin.url("/held.png"));
    let holder = tokio::spawn(async move { holder.image(&held, "w=16").await.status });
    origin.wait_hits("/held.png", 1).await;
    let mut followers = Vec::new();
    // One waits for the host's only turn and leaves, another for the first one's download. Who comes first is not ours to
    // say, so it is tried until it was so.
    while app.metric("pixgate_shed_total").await < 1.0 {
        let n = followers.len();
        assert!(n < 50, "nothing was ever given up");
        origin.set(&format!("/{n}.png"), Reply::new(png(64, 32), "image/png"));
        let url = origin.url(&format!("/{n}.png"));
        let leader = stalled(&app, &image(&url, "w=64")).await;
        app.get("/image").await.problem(400, "url_missing");
        let (follower, target) = (std::sync::Arc::clone(&app), format!("/placeholder?url={}", enc(&url)));
        followers.push(tokio::spawn(async move { follower.get(&target).await.status }));
        app.get("/image").await.problem(400, "url_missing");
        drop(leader);
        for _ in 0..20 {
            app.get("/image").await.problem(400, "url_missing");
        }
    }
    gate.open();
    for (n, follower) in followers.into_iter().enumerate() {
        assert_eq!((follower.await.expect("no panic"), origin.hits(&format!("/{n}.png"))), (200, 1));
    }
    assert_eq!(holder.await.expect("no panic"), 200);
}

#[tokio::test]
async fn what_is_passed_on_keeps_no_room_for_bodies() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/images/icon.icns");
    let icon = std::fs::read(path).expect("a fixture");
    let origin = Origin::start().await;
    // Room for a few at once.
    let app = Setup::new().text("sources.max_bytes", "1MB").text("limits.decode_memory", "30MB").start().await;
    for n in 0..60_u32 {
        // Another entry of 400 kB, by which each is of other bytes.
        let mut bytes = [&icon[..], &b"info"[..], &400_008_u32.to_be_bytes()[..], &vec![n as u8; 400_000]].concat();
        let length = u32::try_from(bytes.len()).expect("short");
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
        origin.set(&format!("/{n}.icns"), Reply::new(bytes, "image/x-icns"));
        assert_eq!(app.next(&origin.url(&format!("/{n}.icns")), 64, 75).await.status, 200, "{n}");
    }
}
